"""What the subcommands of `refinedet` do. Their arguments and help come from these signatures and docstrings."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from .engine.config import DataConfig, RunConfig


def train(**sections: Any) -> None:
    """Train a detector on a data set."""
    from .engine.train import train as run

    result = run(RunConfig(**sections))
    if result.best != result.last:
        print(f"best {result.best}")
    print(f"last {result.last}")


def find_lr(**sections: Any) -> None:
    """Try rising learning rates on a data set and draw the loss over them."""
    from .engine.lr_finder import find_lr as run

    found = run(RunConfig(**sections))
    if found.suggested is None:
        print(f"no rate made the loss fall, see {found.plot}")
    else:
        print(f"the loss falls steepest at --optim.lr {found.suggested:.2g}, see {found.plot}")


def pretrain(**sections: Any) -> None:
    """Train a detector's backbone as a classifier on a folder of images, for --model.backbone_weights."""
    from .classification.config import PretrainConfig
    from .classification.pretrain import pretrain as run

    result = run(PretrainConfig(**sections))
    print(f"best {result.best}\nlast {result.last}\nfor --model.backbone_weights of refinedet train")


def evaluate(
    weights: str,
    data: DataConfig,
    split: Literal["train", "val", "test"] = "test",
    kind: Literal["coco", "voc07", "voc12"] = "coco",
    output: str | None = None,
    device: str = "cpu",
    input_size: int | None = None,
    nms: Literal["code", "paper", "coco", "padet", "efgrnet"] | dict[str, Any] | None = None,
    multi_scale: Literal["320_voc", "320_coco", "512_voc", "512_coco"] | None = None,
    optimize: Literal["off", "auto", "float32", "bfloat16"] = "off",
    competition: Literal["comp3", "comp4"] | None = None,
    runtime: Literal["torch", "onnxruntime", "openvino", "auto"] | None = None,
    threads: int | None = None,
) -> None:
    """Measure a trained detector on a data set, or predict on one without annotations for a test server.

    COCO: a file of images without annotations, such as image_info_test-dev2017.json, as data.test.annotation_file gives
    a detections.json as the server takes it, in a zip archive by the name detections_test-dev2017_NAME_results.json.
    VOC: a list of images without XML files, with the option competition, gives the folder results that the server takes
    as an archive (tar czf results.tgz -C OUTPUT results).

    Args:
        weights: a model file that `refinedet train` wrote, or an *.onnx, *.xml or *.pt2 file of `refinedet export`.
        data: the data set, as for train.
        split: which part of it.
        kind: COCO metrics, or VOC's 11-point (voc07) or area (voc12) mAP.
        output: folder for metrics.json, table.txt, detections.json and precision_recall.png, which must not be there
            already; runs/eval by default, or runs/eval-2 and so on where that is in use.
        device: where to run, such as cpu or cuda.
        input_size: side in pixels that images are resized to; the model's own by default.
        nms: suppression preset, or what differs from one such as '{preset: coco, keep_top_k: 100}'; the model's own by
            default. A box is x2 - x1 wide, where the released code that coco and efgrnet stand for counts x2 - x1 + 1.
        multi_scale: test on several scales with flips and box voting, by this recipe of RefineDet's test code.
        optimize: run a copy of the network that is rewritten for the CPU, in this precision; auto takes the fastest. In
            other runtimes than torch: the precision alone.
        runtime: what runs the network; auto takes the fastest and says which. By default torch, for *.onnx files
            onnxruntime and for *.xml files openvino. A model file of `refinedet train` is converted for the others at
            the first use and kept in the user's cache folder.
        threads: of the network; the runtime's own choice by default.
        competition: also write VOC's result files, output/results/VOC2012/Main/comp4_det_test_CLASS.txt, with a line
            for each detection: image, score, x1, y1, x2, y2. The kind voc07 or voc12 says the year. comp3 is for models
            that saw the data of the challenge alone, comp4 for those with a pretrained backbone. All images of the list
            are predicted on; where any has no annotations, nothing is measured.
    """
    from .engine.evaluate import evaluate_file
    from .engine.process_group import joined
    from .evaluation import format_table
    from .folders import free_folder

    with joined() as processes:
        folder = processes.from_first(lambda: free_folder("runs/eval") if output is None else Path(output).expanduser())
        metrics = evaluate_file(
            weights,
            data,
            split=split,
            kind=kind,
            output=folder,
            device=device,
            input_size=input_size,
            nms=nms,
            multi_scale=multi_scale,
            optimize=optimize,
            competition=competition,
            processes=processes,
        )
        if not processes.is_first:
            return
        files = ["detections.json"] if competition is None else ["detections.json", "results"]
        if "per_class" in metrics:
            print(format_table(metrics) + "\n")
            files = ["metrics.json", "table.txt", *files, "precision_recall.png"]
        else:
            print(f"{metrics['detections']:,} detections in {metrics['images']:,} images")
            print("nothing is measured: there are images without annotations")
        print(f"written to {folder}/: {', '.join(files)}")


def analyse(
    data: DataConfig,
    run: str | None = None,
    detections: str | None = None,
    weights: str | None = None,
    split: Literal["train", "val", "test"] = "test",
    groups: dict[str, Any] | None = None,
    output: str | None = None,
    device: str = "cpu",
    input_size: int | None = None,
) -> None:
    """Find out what a detector does wrong: kinds of errors and what they cost, sensitivity, confusions, thresholds.

    Args:
        data: the data set, as for train.
        run: folder of an evaluation, whose detections are looked at, or of a training, whose best model is measured
            first; it says what the options below leave open.
        detections: a detections.json of refinedet eval; by default those of the model in weights, which is measured
            first, as refinedet eval does.
        weights: a model file that `refinedet train` wrote; adds what its first stage does to the anchors.
        split: which part of the data the detections are of.
        groups: classes that are drawn together and that are similar, such as '{"cells": [RBC, WBC]}'; by default COCO's
            supercategories or the groups of PASCAL VOC, where the data has their classes.
        output: folder for summary.txt, analysis.json and the pictures, which must not be there already; runs/analyse by
            default, or runs/analyse-2 and so on where that is in use.
        device: where to run the model, such as cpu or cuda.
        input_size: side in pixels that images are resized to for the model; its own by default.
    """
    from .engine.analyse import RESULTS, analyse_files
    from .folders import free_folder

    folder = free_folder("runs/analyse") if output is None else Path(output).expanduser()
    summary = analyse_files(
        data,
        detections=detections,
        weights=weights,
        split=split,
        groups=groups,
        output=folder,
        device=device,
        input_size=input_size,
    )
    written = [name for name in RESULTS if (folder / name).exists()]
    print(f"{summary}\n\nwritten to {folder}/: {', '.join(written)}")


def predict(
    images: list[str],
    weights: str,
    output: str | None = None,
    score_threshold: float | dict[str, float] = 0.5,
    classes: list[str] | str | None = None,
    save_images: bool = True,
    save_txt: bool = False,
    save_coco: bool = False,
    save_csv: bool = False,
    overwrite: bool = False,
    device: str = "cpu",
    input_size: int | None = None,
    batch_size: int = 8,
    nms: Literal["code", "paper", "coco", "padet", "efgrnet"] | dict[str, Any] | None = None,
    multi_scale: Literal["320_voc", "320_coco", "512_voc", "512_coco"] | None = None,
    optimize: Literal["off", "auto", "float32", "bfloat16"] = "off",
    orientation: Literal["auto", "stored"] = "auto",
    runtime: Literal["torch", "onnxruntime", "openvino", "auto"] | None = None,
    threads: int | None = None,
) -> None:
    """Detect in images and videos: draws the boxes and writes detections.json.

    Args:
        images: image files, video files, folders of them (without their subfolders), patterns in quotes ('photos/**'
            goes through subfolders), addresses of images (http, https), or the number of a camera, which runs until
            Ctrl-C.
        weights: a model file that `refinedet train` wrote, or an *.onnx, *.xml or *.pt2 file of `refinedet export`.
        output: folder for the drawn images and videos and for detections.json; runs/predict by default, or
            runs/predict-2 and so on where that is in use.
        score_threshold: leave out detections with lower scores; one number, or some by class such as '{"RBC": 0.6}',
            where the others have 0.5.
        classes: names of the classes that are wanted, one or '[RBC, WBC]'; all by default.
        save_images: draw. Images keep their names and formats, where those can be written, else they become PNG;
            videos become MP4.
        save_txt: write a YOLO label file with confidences for each image (of a video, for each frame) into labels/.
        save_coco: write coco_results.json. The image id is the file's name without suffix, as a number where it is
            one; the category id is the label, from 1.
        save_csv: write detections.csv, a line for each detection.
        overwrite: replace results that are in the output folder already, which is refused otherwise.
        device: where to run, such as cpu or cuda.
        input_size: side in pixels that images are resized to; the model's own by default.
        batch_size: images in one pass of the network; a camera has 1.
        nms: suppression preset, or what differs from one such as '{preset: coco, keep_top_k: 100}'; the model's own by
            default. A box is x2 - x1 wide, where the released code that coco and efgrnet stand for counts x2 - x1 + 1.
        multi_scale: detect on several scales with flips and box voting, by this recipe of RefineDet's test code.
        optimize: run a copy of the network that is rewritten for the CPU, in this precision; auto takes the fastest. In
            other runtimes than torch: the precision alone.
        orientation: auto turns photographs as their EXIF tag says, stored takes the pixels as they are stored.
        runtime: what runs the network; auto takes the fastest and says which. By default torch, for *.onnx files
            onnxruntime and for *.xml files openvino. A model file of `refinedet train` is converted for the others at
            the first use and kept in the user's cache folder; torch is then not loaded.
        threads: of the network; the runtime's own choice by default.
    """
    from .engine.predict import plan_outputs
    from .engine.predict import predict as run
    from .engine.process_group import joined
    from .folders import free_folder
    from .inference.sources import find_sources
    from .predictor import Predictor
    from .runtimes.files import MODEL, check_runtime, kind_of

    with joined() as processes:

        def prepare() -> tuple[Any, Any]:
            if kind_of(weights) == MODEL and runtime in (None, "torch"):
                check_runtime(weights, "torch")
                from .weights import read_header

                read_header(weights)  # a wrong path is cheap to find out
            if overwrite and output is None:
                raise ValueError("output: expected the folder whose results overwrite is to replace, got none")
            sources = find_sources(images)
            if processes.count > 1 and any(isinstance(source, int) for source in sources):
                raise ValueError(f"images: expected files for {processes.count} processes, got a camera")
            folder = free_folder("runs/predict") if output is None else Path(output)
            plan = plan_outputs(
                sources, folder, images=save_images, txt=save_txt, coco=save_coco, csv=save_csv, overwrite=overwrite
            )
            return sources, plan

        sources, plan = processes.from_first(prepare)
        options: dict[str, Any] = {} if nms is None else {"nms": nms}
        predictor = Predictor.from_file(
            weights,
            device=processes.device(device),
            batch_size=1 if any(isinstance(source, int) for source in sources) else batch_size,
            input_size=input_size,
            multi_scale=multi_scale,
            optimize=optimize,
            orientation=orientation,
            runtime=runtime,
            threads=threads,
            **options,
        )
        if (runtime is not None or optimize != "off") and processes.is_first:
            print(predictor.about)
        found = run(predictor, sources, plan, score_threshold=score_threshold, classes=classes, processes=processes)
        if processes.is_first:
            drawn = f", drawn in {plan.folder}/" if save_images else ""
            listed = plan.folder / "detections.json"
            print(f"{found.detections} detections in {found.images} images{drawn}, listed in {listed}")
        processes.from_first(lambda: found.check_all_read(len(sources)))


def explain(
    image: str,
    weights: str,
    output: str | None = None,
    score_threshold: float = 0.5,
    objects: int = 6,
    input_size: int | None = None,
    device: str = "cpu",
    orientation: Literal["auto", "stored"] = "auto",
) -> None:
    """Draw what a detector looks at in an image: scores of the first stage, anchors, filter, sampling points.

    Args:
        image: an image file, or the address of one (http, https).
        weights: a model file that `refinedet train` wrote.
        output: folder for the pictures and explain.json, with nothing in it; runs/explain by default, or
            runs/explain-2 and so on where that is in use.
        score_threshold: explain detections with such a score or a higher one.
        objects: how many of them, the best of each class in turn.
        input_size: side in pixels that the image is resized to; the model's own by default.
        device: where to run, such as cpu or cuda.
        orientation: auto turns a photograph as its EXIF tag says, stored takes the pixels as they are stored.
    """
    from .explain import explain_file
    from .folders import free_folder

    explanation, files = explain_file(
        image,
        weights,
        free_folder("runs/explain") if output is None else output,
        score_threshold=score_threshold,
        objects=objects,
        input_size=input_size,
        device=device,
        orientation=orientation,
    )
    for level, kept in zip(explanation.levels, explanation.kept, strict=True):
        print(f"stride {level.stride}: {int(kept.sum()):,} of {level.anchors:,} anchors pass the filter")
    print(
        f"{len(explanation.objects)} of {explanation.detections} detections with a score of {score_threshold:g} or "
        f"above are explained"
    )
    if not explanation.aligned:
        print("no sampling points: this detector has no deformable alignment")
    print(f"written to {files[0].parent}/: {', '.join(file.name for file in files)}")


def convert(
    weights: str, output: str, source: str, input_size: int | None = None, class_names: list[str] | None = None
) -> None:
    """Turn a checkpoint of a public implementation into a file of this package.

    A detector's becomes a model file; an ImageNet classifier's becomes a file for --model.backbone_weights that says
    which options its weights expect.

    Args:
        weights: the checkpoint's file.
        output: the file to write, *.safetensors.
        source: whose checkpoint it is: refinedet.pytorch, efgrnet, or of a backbone such as vgg16_reducedfc,
            caffe-resnet101 or torchvision-resnet101; an unknown name lists them all.
        input_size: of a detector: side of the input that it was trained for, which the weights do not tell; the smaller
            by default.
        class_names: of a detector's labels 1, 2, ...; those of PASCAL VOC by default where there are 20, of COCO where
            there are 80.
    """
    from .backbones.backbone_file import describe_options
    from .convert import BACKBONES, KNOWN_CLASSES, convert_checkpoint
    from .folders import check_folder
    from .registry import list_models
    from .tensor_file import check_suffix
    from .weights import read_header

    check_folder(check_suffix(output).parent)
    file = convert_checkpoint(source, weights, output, input_size=input_size, class_names=class_names)
    if source in BACKBONES:
        entry = BACKBONES[source]
        print(f"{file}: the trunk of {source}, for --model.backbone_weights of {', '.join(list_models(entry.models))}")
        print(f"options that it sets: {describe_options(entry.options)}")
        return
    header = read_header(file)
    model, names = header["model"], header["class_names"]
    if class_names is not None:
        whose = "as given"
    elif names is None:
        whose = "not known, give --class_names"
    else:
        whose = f"taken to be those of {KNOWN_CLASSES[model['num_classes']][0]}, as there are {len(names)}"
    print(f"{file}: {model['name']} with {model['num_classes']} classes, options as {source} expects them")
    print(f"class names: {whose}")


def export(
    weights: str,
    data: DataConfig,
    output: str | None = None,
    format: Literal["pt2", "onnx", "openvino"] | None = None,
    input_size: int | None = None,
    batch_size: int = 1,
    dynamic_batch: bool = False,
    nms: Literal["code", "paper", "coco", "padet", "efgrnet"] | dict[str, Any] | None = None,
    pixels: Literal["float32", "uint8"] = "float32",
    end_to_end: bool = False,
    efficient_nms: bool = False,
    int8: bool = False,
    calibration_images: int = 300,
    max_loss: float = 1.0,
    aot: bool = False,
) -> None:
    """Write a model for other runtimes: *.pt2 (torch.export, with the detection), *.onnx or OpenVINO's *.xml.

    The file says itself what it is, so that predict and eval need nothing beside it. It is opened again and compared
    with the model before it takes its place.

    Args:
        weights: a model file that `refinedet train` wrote.
        data: with int8: the data set, as for train. Its training images say the ranges of the integers, its validation
            images what they cost.
        output: the file to write; beside the weights and with their name by default. An older one is replaced.
        format: what to write; by default what the ending of output says: .pt2, .onnx or .xml (openvino).
        input_size: side of the input in pixels, which is fixed; the model's own by default.
        batch_size: images in a call.
        dynamic_batch: any number of images in a call; needs a batch_size of 2 or more.
        nms: suppression, a preset or what differs from one; the model's own by default. A box is x2 - x1 wide, where
            the released code that coco and efgrnet stand for counts x2 - x1 + 1.
        pixels: what the input holds: float32, normalized as the model wants it, or uint8, 0 to 255 in BGR order.
        end_to_end: of *.onnx and *.xml, detections in place of raw outputs, for hard suppression alone; a *.pt2 file
            has them always.
        efficient_nms: of *.onnx, with end_to_end: TensorRT's plugin EfficientNMS_TRT in place of NonMaxSuppression;
            TensorRT alone runs such a file.
        int8: of *.onnx and *.xml, 8-bit integers; prints the average precision before and after.
        calibration_images: with int8: how many training images to look at.
        max_loss: with int8: points of average precision that may be lost. Where it is more, the last layers, and then
            the first one, stay in float; where it still is, nothing is written.
        aot: of *.pt2: compiled to machine code (AOTInductor) for C++ programs; it takes uint8 images in BGR order.
            Needs a C++ compiler.
    """
    from .engine.export import ExportOptions
    from .engine.export import export as run

    print(
        run(
            weights,
            ExportOptions(
                output=output,
                format=format,
                input_size=input_size,
                batch_size=batch_size,
                dynamic_batch=dynamic_batch,
                nms=nms,
                pixels=pixels,
                end_to_end=end_to_end,
                efficient_nms=efficient_nms,
                int8=int8,
                calibration_images=calibration_images,
                max_loss=max_loss,
                aot=aot,
            ),
            data,
        )
    )


def demo(
    output: str | None = None, train_pictures: int = 1200, test_pictures: int = 100, epochs: int = 7, seed: int = 0
) -> None:
    """Render a data set, train a small RefineDet on it from scratch, evaluate, draw.

    Args:
        output: folder for everything, with nothing in it or with an interrupted demo, which goes on; runs/demo by
            default, or runs/demo-2 and so on where that is in use.
        train_pictures: images to train on.
        test_pictures: held-out images.
        epochs: passes over the training images.
        seed: decides images, weights and augmentation.
    """
    from .engine.demo import demo as run
    from .folders import check_folder

    if output is not None:
        check_folder(output)
    run(output, train_pictures=train_pictures, test_pictures=test_pictures, epochs=epochs, seed=seed)


def inspect_dataset(
    data: DataConfig,
    root: str | None = None,
    model: str | None = None,
    input_size: int | None = None,
    output: str | None = None,
) -> None:
    """Look at a data set: what it has, what is wrong with it, duplicates, and how anchors fit its boxes.

    Args:
        data: the data set, as for train.
        root: its folder, in place of --data.root.
        model: whose anchors are compared with the boxes, a name of the registry; by default the model that
            `refinedet train` takes without a configuration.
        input_size: side of that model's input in pixels; its own by default.
        output: folder for summary.txt, data.json, plots and drawn ground truth, which must not be there already;
            runs/data by default, or runs/data-2 and so on where that is in use.
    """
    import dataclasses

    from .engine.inspection import inspect_data
    from .folders import free_folder

    folder = free_folder("runs/data") if output is None else Path(output).expanduser()
    if root is not None:
        if data.root not in (None, root):
            raise ValueError(f"root, data.root: expected one of them, got {root!r} and {data.root!r}")
        data = dataclasses.replace(data, root=root)
    print(inspect_data(data, model=model, input_size=input_size, output=folder))
    print(f"\nwritten to {folder}/: summary.txt, data.json, classes.png, boxes.png, sheet.png")


def speed(
    models: list[str] | None = None,
    device: str = "cpu",
    batch_sizes: list[int] = [1, 8],  # noqa: B006  (shown in the help, never changed)
    threads: int | None = None,
    seconds: float = 10.0,
    optimize: Literal["off", "auto", "float32", "bfloat16"] = "off",
    runtime: Literal["torch", "onnxruntime", "openvino"] = "torch",
    images: list[str] | None = None,
    num_classes: int | None = None,
    input_size: int | None = None,
    json: str | None = None,
) -> None:
    """Measure images per second of whole detectors, image in memory to detections, beside the papers' figures.

    Median and quartiles of repeated calls, warm; what else the machine does shows in them. Weights of the registry's
    models are random, prepared so that as many anchors and scores pass the two thresholds as with a trained detector.

    Args:
        models: names of the registry, patterns in quotes ('efgrnet*', '*' for all) and model files; by default every
            model whose paper gives a speed.
        device: where to run, such as cpu or cuda.
        batch_sizes: images in one pass of the network.
        threads: of the network on the CPU; by default as many as the runtime takes.
        seconds: to repeat each model and batch size for; at least five repetitions are measured however long they take.
        optimize: run a copy of the network that is rewritten for the CPU, in this precision; auto takes the fastest. In
            other runtimes than torch: the precision alone.
        runtime: what runs the networks, which are exported for the others, on the CPU.
        images: image files, folders, or patterns in quotes, whose first 64 images are used in turn; by default smooth
            noise, in which a trained model finds little.
        num_classes: of models of the registry, including background; by default those that the paper's figure was
            measured with, 21 (VOC) or 81 (COCO), and 21 without one.
        input_size: side of the input in pixels; each model's own by default.
        json: file for the same as numbers, which must not be there already.
    """
    from json import dumps

    from .folders import check_file
    from .speed import format_table, measure_speed, plan_speed, to_dict

    file = None if json is None else check_file(json, "json")
    if file is not None and file.exists():
        raise FileExistsError(f"json: expected a file that is not there yet, {file} is")
    contestants = plan_speed(models, num_classes=num_classes, input_size=input_size)
    report = measure_speed(
        contestants,
        device=device,
        batch_sizes=batch_sizes,
        threads=threads,
        seconds=seconds,
        optimize=optimize,
        runtime=runtime,
        images=images,
        progress=True,
    )
    print(format_table(report))
    if file is not None:
        file.write_text(dumps(to_dict(report), indent=2) + "\n", encoding="utf-8")
        print(f"\nwritten to {file}")


def info(name: str | None = None, table: bool = False) -> None:
    """Tell about the build, the models and the configurations, or about one model.

    Args:
        name: a model of the registry.
        table: print input, anchors, parameters and multiply-adds of every model, for VOC's 20 classes, and the accuracy
            that its paper gives, as Markdown.
    """
    import refinedet_ext as rx

    from .complexity import markdown_table, measure
    from .config_files import list_configs
    from .detectors.published_text import published_lines
    from .registry import list_models, model_entry

    if table:
        print(markdown_table(list_models() if name is None else [name]))
        return
    if name is None:
        for key, value in rx.build_info().items():
            print(f"{key:16} {value}")
        print("\nmodels:")
        for model_name in list_models():
            print(f"  {model_name:32} {model_entry(model_name).description}")
        print("\nconfigurations:\n  " + "\n  ".join(list_configs()))
        return
    entry = model_entry(name)
    size = measure(name)
    print(
        f"{name}: {entry.description}\nparameters with 20 classes and background: {size.parameters:,}\n"
        f"anchors: {size.anchors:,}\nmultiply-adds: {size.macs / 1e9:.1f} G\npublished:"
    )
    print("\n".join(f"  {line}" for line in published_lines(name) or ["nothing"]))
    print("\noptions:")
    for key, value in entry.options.items():
        print(f"  {key:20} {value}")
