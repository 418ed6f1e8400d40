"""Schedules that prune a trained network, in one round or more, and fine-tune what is left."""

from autoprune.prune.schedules.base import Schedule, cubic, geometric, linear

ONE_SHOT = Schedule("prune once, then fine-tune: Li et al. 2017")
SUPERNET = Schedule("Yu & Huang 2019, Universally Slimmable Networks and Improved Training", retrain="supernet")
ITERATIVE = Schedule("Han et al. 2015, Learning both Weights and Connections", 5, geometric)
LINEAR = Schedule("NNI's LinearPruner: the sparsity grows evenly", 5, linear)
GRADUAL = Schedule("Zhu & Gupta 2017, To Prune, or Not to Prune; in few rounds", 3, cubic)
AGP = Schedule("Zhu & Gupta 2017, To Prune, or Not to Prune; NNI's AGPPruner", 10, cubic)
