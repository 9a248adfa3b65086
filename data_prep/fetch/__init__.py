"""How does what a corpus publishes come onto the disk?"""
