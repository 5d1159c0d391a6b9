"""Names of the models, as files, report and terminal call them."""

CONSTANT, LINEAR, LINEAR_IMPROVED = "constant", "linear", "linear_improved"
PRETRAINED, SERVING = "pretrained", "serving"
SIMPLE = (CONSTANT, LINEAR, LINEAR_IMPROVED)  # simplest first
RIVALS = (*SIMPLE, SERVING)

MODEL_TITLES = {
    CONSTANT: "constant answer",
    LINEAR: "linear model",
    LINEAR_IMPROVED: "improved linear model",
    "scikit": "scikit-learn network",
    "keras": "Keras network",
    "scikit_improved": "improved scikit-learn network",
    "keras_improved": "improved Keras network",
    PRETRAINED: "pretrained encoder",
    SERVING: "serving model",
}


def percent(share: float) -> str:
    """Write a share as people read it: 0.75 is "75.0 %", with a space that does not break."""
    return f"{100 * share:.1f}\N{NO-BREAK SPACE}%"
