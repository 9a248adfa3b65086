"""How does a band-limited recording come back as a full-band one? Waveform in, waveform out."""
