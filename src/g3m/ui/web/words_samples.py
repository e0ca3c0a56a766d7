"""What the pages say of samples: lists of them, one alone, charts, duplicates and leaks."""

from __future__ import annotations

from collections.abc import Mapping

from g3m.core.errors import Bilingual

_GRID: Mapping[str, Bilingual] = {
    "found-for": ("Captions with", "图片说明包含"),
    "pictures": ("{count} samples", "{count} 个样本"),
    "at-least": ("more than {count} samples", "超过 {count} 个样本"),
    "filters": ("Filters", "筛选"),
    "apply": ("Apply", "应用"),
    "clear": ("Clear", "清除"),
    "any": ("any", "不限"),
    "without": ("Take this filter away", "移除此筛选"),
    "shuffle": ("Shuffle", "随机排列"),
    "keys-file": ("Keys as a file", "导出键列表"),
    "no-caption": ("no caption", "没有图片说明"),
    "more": ("more", "展开"),
    "letters-more": ("… and {count} more letters", "……另有 {count} 个字符"),
    "size-unknown": ("size unknown", "尺寸未知"),
    "no-picture": ("not in this copy", "此副本中不含"),
    "nothing-found": ("No caption has these words", "没有包含这些词的图片说明"),
    "nothing-found-words": (
        "Fewer words find more; bus* finds every word that begins so; OR finds either.",
        "减少词数可找到更多；bus* 匹配以此开头的词；OR 匹配任一词。",
    ),
    "catalog-lacks": (
        "{count} samples here are not in the catalog yet, and were not searched:",
        "另有 {count} 个样本尚未收入目录，未参与检索：",
    ),
    "past-end": ("The list ends before this", "列表到此之前已结束"),
    "past-end-words": ("It may have become shorter since.", "列表可能已变短。"),
    "catalog-behind": (
        "Some rows are not shown, because the shards have changed since the catalog was made:",
        "目录建立之后分片已有变化，部分条目未显示：",
    ),
    "nothing-left": ("Nothing is here", "这里没有内容"),
    "nothing-left-words": (
        "No sample passes all filters; take one away.",
        "没有样本符合全部筛选条件，请移除一个。",
    ),
    "filter-query": ("search", "搜索"),
    "filter-shard": ("shard", "分片"),
    "filter-words": ("words", "词数"),
    "filter-letters": ("letters", "字符数"),
    "filter-width": ("width", "宽"),
    "filter-height": ("height", "高"),
    "filter-aspect": ("aspect", "宽高比"),
    "filter-bytes": ("bytes", "字节"),
    "filter-format": ("format", "格式"),
    "filter-host": ("host", "网站"),
    "filter-flag": ("finding", "发现"),
    "filter-seed": ("shuffled", "随机"),
}

_SAMPLE: Mapping[str, Bilingual] = {
    "rest-of-caption": ("the other {count} letters", "其余 {count} 个字符"),
    "captions-apart": ("{count} captions, one by one", "逐条查看 {count} 条图片说明"),
    "number": ("Number", "编号"),
    "picture": ("Picture", "图片"),
    "caption": ("Caption", "图片说明"),
    "caption-length": ("{words} words, {letters} letters", "{words} 个词，{letters} 个字符"),
    "bytes-count": ("{count} bytes", "{count} 字节"),
    "original": ("save the original", "保存原图"),
    "at-offset": ("{count} bytes from {offset}", "自 {offset} 起 {count} 字节"),
    "python": ("Load it in Python", "用 Python 读取"),
    "json": ("JSON", "JSON"),
    "alike-title": ("Looks alike", "看起来近似"),
    "same-bytes": ("same bytes", "字节相同"),
    "bits-of": ("{count} of 128 bits differ", "128 位中有 {count} 位不同"),
    "bits-differ": ("looks alike; {count} of 128 bits differ", "近似；128 位中有 {count} 位不同"),
}

_STATS: Mapping[str, Bilingual] = {
    "scale": ("Scale", "刻度"),
    "linear": ("linear", "线性"),
    "log": ("logarithmic", "对数"),
    "bar": ("{name}: {count} samples", "{name}：{count} 个样本"),
    "chart-words": ("Words in a caption", "图片说明的词数"),
    "chart-letters": ("Letters in a caption", "图片说明的字符数"),
    "chart-width": ("Width, pixels", "宽度（像素）"),
    "chart-height": ("Height, pixels", "高度（像素）"),
    "chart-aspect": ("Width by height", "宽高比"),
    "chart-bytes": ("Size, bytes", "大小（字节）"),
    "chart-format": ("Format", "格式"),
    "chart-host": ("Host", "网站"),
    "chart-flag": ("Finding", "发现"),
    "chart-alike": ("Duplicates", "重复"),
    "chart-left-out": ("Left out", "未收录"),
    "chart-word": ("Most frequent words", "最常见的词"),
}

_ALIKE: Mapping[str, Bilingual] = {
    "alike-words": (
        (
            "Pairs of samples whose pictures are the same bytes, or look alike: at most {bits} bits differ"
            " between their patterns of light and dark, as when a picture was scaled or encoded anew."
            " Plain pictures can look alike without being the same."
        ),
        (
            "字节相同，或看起来近似的成对样本。近似指 128 位明暗图样至多 {bits} 位不同，"
            "常见于缩放或重新编码；构图简单的不同图片也可能近似。"
        ),
    ),
    "alike-part": (
        "Not all pictures were looked at, so that there may be more:",
        "尚未检查全部图片，可能还有更多：",
    ),
    "alike-none": ("No duplicates", "没有重复"),
    "alike-none-words": (
        "Every picture was looked at, and no two are the same or nearly so.",
        "已检查全部图片，没有相同或近似的。",
    ),
    "needs-pictures": ("The pictures were not looked at yet", "图片尚未检查"),
    "needs-pictures-words": (
        "Duplicates show when every picture has been read once. It takes longer, and can be continued:",
        "读取每张图片一次之后才能发现重复。耗时较长，可随时中断并继续：",
    ),
    "leaks-words": (
        "Is a picture of an evaluation set also in what you train on? Exactly, or scaled and recompressed.",
        "评测集中的图片是否也出现在训练数据中？包括完全相同，以及缩放或重新压缩的情况。",
    ),
    "leaks-choose": ("Choose the set that you evaluate on", "选择用于评测的数据集"),
    "leaks-of": ("of {name} in what you train on", "{name} 的图片出现在训练数据中"),
    "leaks-none": ("No leak was found", "未发现泄漏"),
    "leaks-none-yet": ("None found so far", "目前尚未发现"),
    "leaks-none-words": (
        "None of the pictures of {name} was found in the datasets below, exactly or nearly.",
        "未在下列数据集中找到与 {name} 相同或近似的图片。",
    ),
    "leaks-needs-words": (
        "Before that, nothing can be said. Each picture is read once; it takes long, and can be continued:",
        "在此之前无法判断。每张图片读取一次，耗时较长，可随时中断并继续：",
    ),
    "leaks-unseen": ("The pictures of {name} were not looked at yet", "{name} 的图片尚未检查"),
    "leaks-others-unseen": (
        "The pictures of the other datasets were not looked at yet",
        "其他数据集的图片尚未检查",
    ),
    "leaks-alone": ("There is nothing to compare with", "没有可比较的数据集"),
    "leaks-alone-words": (
        "The catalog has no other dataset; what you train on must be below the same root.",
        "目录中没有其他数据集；训练数据须位于同一根目录下。",
    ),
    "leaks-missed": ("Not in the catalog, so not searched:", "不在目录中，因此未检索："),
    "leaks-means": ("What the words mean", "各词的含义"),
    "leaks-exact-words": (
        "The files of both pictures are equal, byte for byte.",
        "两张图片的文件逐字节相同。",
    ),
    "leaks-near-words": (
        (
            "One photograph, scaled or encoded anew, or with very little cut off. Measured so: of two"
            " patterns of light and dark, 128 bits each, at most {bits} differ, and small grey copies of both"
            " pictures correlate by {correlation} or more."
        ),
        (
            "同一照片经缩放、重新编码或极少量裁切。判定方法：两张图片的 128 位明暗图样至多 {bits} 位不同，"
            "且二者的灰度小图相关系数不低于 {correlation}。"
        ),
    ),
    "leaks-unsure-words": (
        "The patterns agree, but the pictures could not be compared a second time.",
        "明暗图样相符，但未能对图片做第二次比较。",
    ),
    "leaks-limits": (
        (
            "A picture that is cropped, mirrored or painted over is mostly not found; pictures of one plain"
            " layout can be near without being the same. So look at the pairs."
        ),
        "裁切较多、镜像或涂改过的图片大多无法发现；构图简单的不同图片也可能被判为近似，因此请查看各对图片。",
    ),
    "leaks-looked": ("Looked at", "已检查"),
    "leaks-crowded": (
        "Very many pictures have nearly one hash; not all of those were compared.",
        "有大量图片的哈希几乎相同，未全部比较。",
    ),
    "leaks-refuted": (
        "{count} were alike by hash and are not the same picture.",
        "{count} 对哈希相近，但并非同一图片。",
    ),
    "leaks-cut": ("Only the first are listed.", "仅列出最前面的部分。"),
    "leaks-part": (
        "Not all pictures were looked at, so that there may be more. {count} of {total} were:",
        "尚未检查全部图片，可能还有更多。已检查 {count} / {total}：",
    ),
    "leaks-hit": (
        "of {count} samples of {name} have the same picture elsewhere, or nearly the same",
        "/ {count}：{name} 中在别处有相同或近似图片的样本",
    ),
    "leaks-where": ("Where they are found", "出现在哪里"),
    "leaks-exact": ("same bytes", "字节相同"),
    "leaks-near": ("nearly", "近似"),
    "leaks-unsure": ("unsure", "不确定"),
    "leaks-pairs": ("The first {count} of them", "前 {count} 对"),
    "leaks-file": ("Exclusion list", "排除列表"),
    "leaks-file-words": (
        "A line for each sample to leave out. The loader and g3m drop --keys read it:",
        "每行一个需排除的样本，加载器和 g3m drop --keys 均可读取：",
    ),
}

SAMPLES: Mapping[str, Bilingual] = {**_GRID, **_SAMPLE, **_STATS, **_ALIKE}
