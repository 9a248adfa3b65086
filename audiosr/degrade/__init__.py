"""What is done to a full-band clip on the fly, as `conf/degrade/` names it?"""
