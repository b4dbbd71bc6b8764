"""Values of options that code refers to, and the headings of options."""

# Interchangeable parts, by name: see `student.base.Architecture`, `distillation.policies.base`.
ARCHITECTURES = {
    "jitnet": "jitnet_tf.student.jitnet:JITNet",
    "mobilenetv2": "jitnet_tf.student.mobilenetv2:MobileNetV2",
}
REPLAY = "replay"
UPDATE_POLICIES = {
    "teacher_frame": "jitnet_tf.distillation.policies.teacher_frame:TeacherFramePolicy",
    REPLAY: "jitnet_tf.distillation.policies.replay:ReplayPolicy",
}
JITNET = "jitnet"
INPUT_NORMALIZATIONS = ("centered", "raw", "standardized")
# Optimizers, and the layers that online updates change.
SGD, ADAM = OPTIMIZERS = ("sgd", "adam")
ALL_LAYERS, DECODER, LAST_LAYER = UPDATED_LAYERS = ("all", "decoder", "last")
# Whether a frame waits for its teacher.
SYNC, ASYNC = TEACHER_MODES = ("sync", "async")
# What strides count from, what is shown of a teacher frame, and of the others.
STREAM, TEACHER_FRAME = STRIDE_ORIGINS = ("stream", "teacher_frame")
STUDENT_SHOWN, TEACHER_SHOWN = SHOWN = ("student", "teacher")
CUT, NOVELTY = TRIGGERS = ("cut", "novelty")
NO_FUSION, GATE = FUSIONS = ("none", "gate")
RANDOM, PRETRAINED = INITIAL_WEIGHTS = ("random", "pretrained")
SAMPLE = "sample"

# Headings of the options, in their order in --help.
INPUT = "Input and output"
TRAINING_SET = "Training set"
VALIDATION_SET = "Validation set"
RUN = "The run"
LABELS = "Classes and labels"
LIVE = "Live streams"
SERVING = "Serving and watching"
ALGORITHM = "Algorithm 1"
BEYOND = "Beyond the paper"
UPDATES = "Updates"
STUDENT = "The student"
AUGMENTATION = "Augmentation"
TRAINING = "Training"
COMPUTATION = "Computation"
FLEET = "The fleet"
GROUPS = (
    *(INPUT, TRAINING_SET, VALIDATION_SET, RUN, LIVE, SERVING, LABELS, ALGORITHM, BEYOND),
    *(UPDATES, STUDENT, AUGMENTATION, TRAINING, COMPUTATION, FLEET),
)
