"""The built-in tasks: name -> ``module:attribute``, imported only when asked for."""

TASKS = {
    "digits": "autoprune.tasks.digits:task",
    "fashion_mnist": "autoprune.tasks.fashion_mnist:lenet5",
    "fashion_mnist_resnet20": "autoprune.tasks.fashion_mnist:resnet20",
    "imdb": "autoprune.tasks.imdb:task",
}
