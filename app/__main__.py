"""Show the classifier as a web page on this machine: python -m app"""

import sys

from app.listener import get_url, is_loopback, open_listener
from app.settings import AppConfig
from support import cli
from training.model_paths import choose_models

PROGRAM = "python -m app"


def main(argv: list[str] | None = None) -> int:
    """Run the page until it is stopped; returns the exit code."""

    def command() -> int:
        return serve(cli.parse(AppConfig, argv, prog=PROGRAM, description=__doc__))

    return cli.run(PROGRAM, command, requirements="requirements-app.txt")


def serve(settings: AppConfig) -> int:
    """Take the port, load the model and serve the page."""
    import uvicorn

    from app.connections import build_options
    from app.server import build_app

    with open_listener(settings.host, settings.port) as listener:
        from app.examples import choose_examples
        from app.prediction import DISCLAIMER, Predictor, describe_model
        from data.class_names import class_titles
        from models.description import SYNTHETIC_WARNING
        from models.ensemble import load_predictor

        model_paths, origin = choose_models(settings.model_path)
        classifier = load_predictor(model_paths, engine=settings.engine)
        description = classifier.description
        local, address = is_loopback(listener), listener.getsockname()[0]
        app = build_app(
            Predictor(classifier, settings),
            settings,
            examples=choose_examples(classifier),
            about={
                "model": describe_model(classifier),
                "disclaimer": DISCLAIMER,
                "titles": class_titles(description.class_names, description.class_titles),
            },
            hosts=("127.0.0.1", "localhost", "::1", settings.host, address) if local else (),
        )
        print(f"Model: {origin}, {description.origin}")
        if description.synthetic:
            print(f"warning: {SYNTHETIC_WARNING}", file=sys.stderr)
        if classifier.missing_warnings:
            print(f"note: {classifier.missing_warnings}", file=sys.stderr)
        if not local:
            print(
                f"warning: --host {settings.host} lets others on the network use this page; it has "
                "no password, and images travel unencrypted",
                file=sys.stderr,
            )
        print(f"Open {get_url(listener)} in a browser; press Ctrl-C to stop.", flush=True)
        uvicorn.Server(build_options(app, settings)).run(sockets=[listener])
    return 0


if __name__ == "__main__":
    sys.exit(main())
