"""How do models come in from elsewhere and go out again: released files and the hub?"""
