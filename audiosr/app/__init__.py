"""A page in the browser, on which a recording is restored, seen and heard."""
