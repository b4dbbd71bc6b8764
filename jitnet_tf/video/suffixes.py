"""Suffixes by which the videos and the images of a folder are known; a single file may have any."""

from av.format import ContainerFormat

# Images that OpenCV decodes in all versions.
_IMAGES = ".bmp .dib .jfif .jp2 .jpe .jpeg .jpg .pbm .pgm .png .pnm .ppm .tif .tiff .webp"
IMAGE_SUFFIXES = frozenset(_IMAGES.split())

# FFmpeg's formats that carry video. Those that only games of the nineties use are left out.
_FORMATS = """
    3gp amv apng apv asf avi avs2 avs3 cavsvideo cdxl dhav dirac dnxhd dv dvd evc f4v flv gif gxf
    h261 h263 h264 hevc hxvs ifv ipod ipu ivf ivr kux lvf m4v matroska mjpeg mov mp4 mpeg mpeg1video
    mpeg2video mpegts mxf mxg nut obu ogv pdv psp rm roq ser simbiosis_imx smjpeg svcd swf ty vc1
    vc1test vivo vob vvc webm wtv yuv4mpegpipe
"""
# Suffixes of these formats for files without video, and for images.
_NO_VIDEO = ".avif .avs .heic .heif .ism .isma .m4a .m4b .mka .mks .mpo .ra .wma"
# Further names of these formats, which FFmpeg tells by their content: MPEG streams, camcorders
# (.mod, .tod), 360° cameras, recorders. Not .lrv, GoPro's small copy of each video.
_FURTHER = """
    .360 .3gpp .divx .dvr-ms .evo .insv .m2p .mod .mp2v .mp4v .mpe .mpv .mpv2 .ogm .ogx .qt .rmvb
    .tod .tp .trp .wm .xvid
"""


def _video_suffixes() -> frozenset[str]:
    suffixes = set(_FURTHER.split())
    for name in _FORMATS.split():
        try:
            suffixes.update(f".{extension}" for extension in ContainerFormat(name).extensions)
        except ValueError:  # not in this build of FFmpeg
            continue
    return frozenset(suffixes - set(_NO_VIDEO.split()))


VIDEO_SUFFIXES = _video_suffixes()
