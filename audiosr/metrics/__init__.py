"""How near is an estimate to the truth, in figures that can be compared?"""
