"""The adversarial loop and its four methods: GAIL, SOG-GAIL, InfoGAIL and VAE-GAIL."""
