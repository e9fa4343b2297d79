"""The usual way to train on HAM10000, for `benchmarks.time_to_accuracy` to compare with.

MobileNetV2 at 224 px, fed by Keras's legacy `ImageDataGenerator.flow_from_dataframe`: three epochs
of the head, then everything unfrozen with Adam at 1e-4, plain cross-entropy. In one thing it is
kinder than most: BatchNorm keeps its ImageNet statistics, as Keras's guide to transfer learning
intends. In training mode, with Keras's momentum of 0.999, they would lag for many epochs.
"""

import keras
import tensorflow as tf

from benchmarks.machine import parse_arguments
from config import TrainConfig
from data.ham10000 import CLASS_NAMES, read_metadata, split_by_lesion
from models.progress import Progress
from models.training import BalancedAccuracy, Phase

IMAGE_SIZE = 224
BATCH_SIZE = 32
ImageDataGenerator = tf.keras.preprocessing.image.ImageDataGenerator
PHASES = (Phase("head", 3, 1e-3), Phase("fine-tune", 60, 1e-4))


def main() -> None:
    """Train until somebody stops it; a line for each epoch."""
    args = parse_arguments(__doc__, seed=(0, "of the split and the order"))
    keras.utils.set_random_seed(args.seed)
    settings = TrainConfig(seed=args.seed)
    frame = read_metadata(args.data_dir)
    frame = frame[frame["path"].notna()].reset_index(drop=True)
    split = split_by_lesion(
        frame,
        seed=settings.seed,
        validation_share=settings.validation_share,
        test_share=settings.test_share,
    )
    scale = keras.applications.mobilenet_v2.preprocess_input
    changing = ImageDataGenerator(
        preprocessing_function=scale,
        rotation_range=180,
        zoom_range=0.15,
        width_shift_range=0.1,
        height_shift_range=0.1,
        horizontal_flip=True,
        vertical_flip=True,
        fill_mode="reflect",
    )

    def flow(generator: ImageDataGenerator, part: str, shuffle: bool):
        return generator.flow_from_dataframe(
            frame[split == part],
            x_col="path",
            y_col="label",
            classes=list(CLASS_NAMES),
            target_size=(IMAGE_SIZE, IMAGE_SIZE),
            batch_size=BATCH_SIZE,
            shuffle=shuffle,
            seed=args.seed,
        )

    learned = flow(changing, "train", shuffle=True)
    chosen_by = flow(ImageDataGenerator(preprocessing_function=scale), "val", shuffle=False)

    backbone = keras.applications.MobileNetV2(
        input_shape=(IMAGE_SIZE, IMAGE_SIZE, 3), include_top=False, weights="imagenet"
    )
    inputs = keras.Input((IMAGE_SIZE, IMAGE_SIZE, 3))
    x = keras.layers.GlobalAveragePooling2D()(backbone(inputs))
    x = keras.layers.Dropout(0.2)(x)
    outputs = keras.layers.Dense(len(CLASS_NAMES), activation="softmax")(x)
    model = keras.Model(inputs, outputs)

    progress = Progress(list(PHASES), len(learned))
    done = 0
    for phase in PHASES:
        for layer in backbone.layers:
            is_norm = isinstance(layer, keras.layers.BatchNormalization)
            layer.trainable = phase.name != "head" and not is_norm
        model.compile(
            optimizer=keras.optimizers.Adam(phase.learning_rate),
            loss="categorical_crossentropy",
            metrics=["accuracy", BalancedAccuracy(len(CLASS_NAMES))],
        )
        model.fit(
            learned,
            validation_data=chosen_by,
            initial_epoch=done,
            epochs=done + phase.epochs,
            callbacks=[progress],
            verbose=0,
        )
        done += phase.epochs


if __name__ == "__main__":
    main()
