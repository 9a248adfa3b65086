"""How is sound read, measured, filtered and put back together?"""
