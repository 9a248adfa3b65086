"""Which networks does AudioSR consist of? Plain modules with plain arguments, at any width."""
