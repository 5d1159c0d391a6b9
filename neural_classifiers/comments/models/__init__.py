"""Classifiers of comments, each a pipeline from cleaned text to a category.

- `pipelines`: the pipeline of each model, unfitted.
- `grids`: what a search tries with each; light to import.
- `networks`: the architecture of the Keras network, from numbers.
- `keras_classifier`: Keras networks as scikit-learn classifiers, and their weights as values.
- `balanced`: weights of classes and early stopping, for scikit-learn's network and for Keras'.
- `selection`: the choice of features of the improved networks.
"""
