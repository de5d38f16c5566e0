"""Images which come with the package: a tenth of Fashion-MNIST, no network needed."""

from importlib import resources

import numpy as np

from aljax.data.splits import Splits

POOL_SIZE = 10_000

# Labels 0..9, in the order of the authors' README.
CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


def load() -> Splits:
    """10,000 training and 2,000 test images of Fashion-MNIST, 28x28x1, 10 classes.

    Stratified and in the order of the original; `fashion_mnist_mini/README.md` says
    where they come from.
    """
    path = resources.files("aljax.data") / "fashion_mnist_mini" / "images.npz"
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return Splits(
            train_images=arrays["train_images"][..., None],
            train_labels=arrays["train_labels"].astype(np.int32),
            test_images=arrays["test_images"][..., None],
            test_labels=arrays["test_labels"].astype(np.int32),
            classes=CLASSES,
        )
