"""Which noise, which target and which path lead from noise to a latent?"""
