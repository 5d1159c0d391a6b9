"""Names of the models, as files, report and terminal call them."""

CONSTANT, LINEAR, LINEAR_RAW = "constant", "linear", "linear_raw"
LINEAR_IMPROVED, PROBE = "linear_improved", "probe"
PRETRAINED, SERVING = "pretrained", "serving"
LINEARS = (LINEAR, LINEAR_RAW, LINEAR_IMPROVED)
SIMPLE = (CONSTANT, *LINEARS, PROBE)  # simplest first
RIVALS = (*SIMPLE, SERVING)

MODEL_TITLES = {
    CONSTANT: "constant answer",
    LINEAR: "linear model",
    LINEAR_RAW: "linear model of raw text",
    LINEAR_IMPROVED: "improved linear model",
    PROBE: "probe of the encoder",
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
