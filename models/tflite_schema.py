"""The schema of `.tflite` files, as ai-edge-litert has it or, without this package, TensorFlow."""

try:
    from ai_edge_litert import schema_py_generated as schema
except ImportError:
    from models.backend import start_tensorflow

    start_tensorflow()
    from tensorflow.lite.python import schema_py_generated as schema

__all__ = ["schema"]
