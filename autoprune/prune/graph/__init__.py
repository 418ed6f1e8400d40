"""How channels run through a network: labels that one run of the model carries along."""
