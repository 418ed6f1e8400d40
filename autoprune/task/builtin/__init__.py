"""The built-in tasks: name -> ``module:attribute``, imported only when asked for."""

TASKS = {
    "digits": "autoprune.task.builtin.digits:task",
    "fashion_mnist": "autoprune.task.builtin.fashion_mnist:lenet5",
    "fashion_mnist_resnet20": "autoprune.task.builtin.fashion_mnist:resnet20",
    "imdb": "autoprune.task.builtin.imdb:task",
}
