"""Deep active-learning experiments in JAX that run fast, resume, and can be believed.

Letters used for shapes everywhere:
    N  images          B  images in a batch     K  classes
    H  image height    W  image width           C  channels
    D  width of the pooled embedding            L  labelled images
"""

__version__ = "0.1.0"
