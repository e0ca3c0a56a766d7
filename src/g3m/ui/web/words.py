"""What the pages say, in English and Chinese side by side; every key is used by a template or by pages.py."""

from __future__ import annotations

from collections.abc import Mapping

from g3m.core.errors import Bilingual
from g3m.core.samples import REASONS
from g3m.ui.words_deep import DEEP
from g3m.ui.words_gather import meaning_of

LANGUAGES = ("en", "zh")

_FRAME: Mapping[str, Bilingual] = {
    "skip": ("Skip to the content", "跳到正文"),
    "pages": ("Pages", "页面"),
    "nav-home": ("Datasets", "数据集"),
    "nav-browse": ("Pictures", "图片"),
    "nav-stats": ("Statistics", "统计"),
    "nav-alike": ("Duplicates", "重复"),
    "nav-leaks": ("Leaks", "泄漏"),
    "nav-downloads": ("Downloads", "下载"),
    "nav-shards": ("Shards", "分片"),
    "nav-left-out": ("Left out", "未收录"),
    "title-home": ("Datasets", "数据集"),
    "title-browse": ("Pictures", "图片"),
    "title-search": ("Search the captions", "搜索图片说明"),
    "title-sample": ("Sample", "样本"),
    "title-stats": ("Statistics", "统计"),
    "title-alike": ("Duplicates", "重复图片"),
    "title-leaks": ("Leaks", "泄漏"),
    "title-shards": ("Shards", "分片"),
    "title-left-out": ("Left out", "未收录"),
    "title-downloads": ("Downloads", "下载"),
    "title-help": ("Help", "帮助"),
    "search-placeholder": ("Search the captions", "搜索图片说明"),
    "foot": (
        "Made on this machine, from its own files. Nothing leaves it.",
        "由本机从本地文件生成，不向外发送任何内容。",
    ),
    "no-catalog": (
        "Searching, filters and statistics need the catalog:",
        "搜索、筛选和统计需要目录：",
    ),
    "previous": ("previous", "上一页"),
    "next": ("next", "下一页"),
    "pages-of-list": ("Pages of the list", "列表分页"),
    "back-home": ("All datasets", "全部数据集"),
    "dataset": ("Dataset", "数据集"),
    "all-datasets": ("All datasets", "全部数据集"),
    "unknown": ("unknown", "未知"),
    "unseen": ("a character that cannot be seen", "不可见的字符"),
    "samples": ("samples", "个样本"),
    "samples-count": ("{count} samples", "{count} 个样本"),
    "samples-head": ("Samples", "样本数"),
    "size": ("Size", "大小"),
    "shard": ("Shard", "分片"),
    "key": ("Key", "键"),
}

_HOME: Mapping[str, Bilingual] = {
    "home-title": ("Datasets here: {count}", "本机数据集：{count} 个"),
    "home-sum": ("{samples} samples, {size}", "{samples} 个样本，{size}"),
    "home-empty": ("No samples here yet", "这里还没有样本"),
    "home-empty-words": (
        "Fetch the evaluation sets first; they are small and take minutes:",
        "可先获取评测集，体积小，几分钟即可完成：",
    ),
    "at-work": ("At work: {holder}", "正在运行：{holder}"),
    "state-done": ("ready", "可用"),
    "state-part": ("in part", "部分"),
    "state-none": ("not here", "未获取"),
    "licence": ("Licence", "许可证"),
    "looked": ("pictures looked at", "图片已检查"),
    "of-expected": ("of {count}", "/ {count}"),
    "as-stated": ("stated by: {source}", "数据源声明："),
    "reasons-more": ("and {count} more reasons", "以及另外 {count} 种原因"),
    "in-part": ("Go on with", "继续获取："),
    "shards-count": ("Shards: {count}", "分片：{count}"),
    "shards-of": ("Shards: {count} of {planned}", "分片：{count} / {planned}"),
    "dropped-count": ("Dropped: {count}", "已删除：{count}"),
    "catalogued": ("In the catalog: {count}", "目录中：{count}"),
    "homepage": ("Source", "来源"),
    "not-here-yet": ("Known, and not here yet", "已知但尚未获取"),
    "expects": ("{count} samples", "{count} 个样本"),
}

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
    "chart-word": ("Most frequent words", "最常见的词"),
}

_ALIKE: Mapping[str, Bilingual] = {
    "alike-words": (
        "Pairs of samples whose pictures are the same bytes or look alike: scaled, recompressed, a bit cut.",
        "字节相同，或看起来近似（缩放、重新压缩或略微裁剪）的成对样本。",
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
    "leaks-none-words": (
        (
            "None of the pictures of {name} was found in the datasets below."
            " What is cropped, mirrored or painted over is mostly not found."
        ),
        "{name} 的图片均未在下列数据集中找到。裁切较多、镜像或涂改过的图片大多无法发现。",
    ),
    "leaks-near-words": (
        (
            "Nearly: one photograph encoded or scaled anew, or with little cut off: at most {bits} of 128"
            " bits of the hashes differ, and small grey pictures correlate by {correlation} or more."
            " Unsure: alike by hash, but the pictures could not be compared a second time."
        ),
        (
            "近似：同一照片经重新编码、缩放或轻微裁切：128 位哈希中至多 {bits} 位不同，"
            "且灰度小图的相关系数不低于 {correlation}。不确定：哈希相近，但未能对图片做第二次比较。"
        ),
    ),
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
    "leaks-hit": ("of {count} samples of {name} are found elsewhere", "/ {count}：{name} 中出现在别处的样本"),
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

_LISTS: Mapping[str, Bilingual] = {
    "first-number": ("First number", "起始编号"),
    "shards-none": ("There are no shards.", "没有分片。"),
    "verify-words": ("Does every byte still agree with the manifest?", "每个字节是否仍与清单一致？"),
    "reason": ("Reason", "原因"),
    "detail": ("In words", "说明"),
    "missing-title": ("Why some are no samples", "未成为样本的原因"),
    "findings-title": ("Found in what is here", "已收录样本中的发现"),
    "done-kept": ("kept", "保留"),
    "done-fixed": ("fixed", "已修正"),
    "done-rejected": ("rejected", "拒绝"),
    "left-out-none": ("Nothing was left out", "没有未收录的内容"),
    "left-out-none-words": ("Every sample of the source is here.", "数据源的样本全部在此。"),
}

_LIVE: Mapping[str, Bilingual] = {
    "no-run": ("No run is known here", "这里没有运行记录"),
    "no-run-words": (
        "Start one in a shell; this page follows it, whoever started it:",
        "在终端启动后，本页会自动跟随其进度：",
    ),
    "run-over": ("No run is at work; this is the last one", "当前没有任务运行；以下为上一次的记录"),
    "live-bytes": ("Downloaded", "已下载"),
    "live-speed": ("Speed", "速度"),
    "live-left": ("about {time} left", "约剩 {time}"),
    "live-tasks": ("Tasks done", "已完成任务"),
    "of-size": ("of {size}", "/ {size}"),
    "of-count": ("of {count}", "/ {count}"),
    "live-rows": ("Rows of lists", "列表行数"),
    "live-good": ("{share} became samples", "{share} 成为样本"),
    "live-routes": ("Routes", "路线"),
    "live-place": ("Place", "位置"),
    "live-way": ("Way", "方式"),
    "live-connections": ("Lines", "连接数"),
    "live-running": ("Tasks at work: {count}", "进行中的任务：{count}"),
    "live-failed": ("Tasks that failed: {count}", "失败的任务：{count}"),
    "live-recent": ("Of late", "近期事件"),
}

_HELP: Mapping[str, Bilingual] = {
    "language-title": ("What can be searched for", "搜索语法"),
    "q-words": ("both words, in any order", "包含两个词，顺序不限"),
    "q-phrase": ("these words, next to one another", "词组，词必须相邻"),
    "q-prefix": ("every word that begins so", "以此开头的所有词"),
    "q-or": ("either word", "任一词"),
    "q-not": ("without the second word", "不含第二个词"),
    "q-chinese": ("these characters, next to one another", "这些汉字，必须相邻"),
    "keyboard-title": ("Keys", "快捷键"),
    "k-search": ("search", "搜索"),
    "k-pages": ("next and previous page, or sample", "下一页、上一页（或样本）"),
    "k-home": ("datasets", "数据集"),
    "k-browse": ("pictures", "图片"),
    "k-stats": ("statistics", "统计"),
    "k-downloads": ("downloads", "下载"),
    "k-shuffle": ("shuffle, and shuffle again", "随机排列，可重复"),
    "k-help": ("this page", "本页"),
    "commands-title": ("Commands", "命令"),
    "c-index": ("bring the catalog up to date: captions, sizes, hosts", "更新目录：图片说明、尺寸、网站"),
    "c-pictures": ("look at every picture: duplicates, damage", "检查每张图片：重复、损坏"),
    "c-search": ("the same search in a terminal", "在终端中搜索"),
    "c-stats": ("the same figures in a terminal", "在终端中查看统计"),
    "c-drop": ("take samples out, and remember it", "移除样本并留下记录"),
    "c-export": ("these pages as files that open by double click", "将这些页面导出为可双击打开的文件"),
}

_PROBLEMS: Mapping[str, Bilingual] = {
    "needs-catalog": ("This needs the catalog", "此功能需要目录"),
    "needs-catalog-words": (
        "Searching, filters and statistics are answered by a catalog of all captions. It is made in minutes:",
        "搜索、筛选和统计由全部图片说明的目录提供，几分钟即可建立：",
    ),
    "problem-needs-catalog": ("This needs the catalog", "此功能需要目录"),
    "problem-needs-catalog-words": (
        "Searching, filters and statistics are answered by a catalog of all captions. It is made in minutes:",
        "搜索、筛选和统计由全部图片说明的目录提供，几分钟即可建立：",
    ),
    "problem-not-here": ("It is not here", "这里没有"),
    "problem-not-here-words": ("There is no dataset or sample of this name.", "没有该名称的数据集或样本。"),
    "problem-gone": ("This sample was dropped", "此样本已被移除"),
    "problem-gone-words": (
        "It is not shown, not loaded and not handed out any more.",
        "不再显示、加载或分发。",
    ),
    "problem-bad-view": ("This cannot be asked for", "无法按此查询"),
    "problem-bad-view-words": ("A part of the address means nothing:", "地址中有一部分无效："),
    "problem-failed": ("This could not be read", "无法读取"),
    "problem-failed-words": ("The files are not as they should be:", "文件状态不正确："),
    "problem-no-page": ("There is no such page", "没有此页面"),
    "problem-no-page-words": ("The address names nothing that is here.", "该地址没有对应的内容。"),
    "problem-no-method": ("This is for looking only", "此处仅供查看"),
    "problem-no-method-words": (
        "The pages answer GET and HEAD, and change nothing.",
        "页面只响应 GET 和 HEAD，不做任何更改。",
    ),
    "problem-broken": ("Something went wrong here", "出现错误"),
    "problem-broken-words": (
        "The page could not be made. The other pages go on.",
        "无法生成此页面，其他页面不受影响。",
    ),
}

PAGES: Mapping[str, Bilingual] = {
    **_FRAME,
    **_HOME,
    **_GRID,
    **_SAMPLE,
    **_STATS,
    **_ALIKE,
    **_LISTS,
    **_LIVE,
    **_HELP,
    **_PROBLEMS,
}

SPELLED: Mapping[str, Bilingual] = {
    "not_an_image": ("not an image", "不是图片"),
    "bomb": ("too many pixels", "像素过多"),
    "broken": ("broken", "损坏"),
    "truncated": ("cut off", "被截断"),
    "no_end": ("no end marker", "缺少结束标记"),
    "trailing": ("bytes behind the end", "结尾有多余字节"),
    "warning": ("decodes with a warning", "解码有警告"),
    "not_jpeg": ("not a JPEG", "非 JPEG"),
    "cmyk": ("four colours", "四色"),
    "grayscale": ("no colours", "灰度"),
    "orientation": ("to be turned", "需旋转"),
    "duplicate_image": ("same as an earlier one", "与先前重复"),
    "no_caption": ("no caption", "无说明"),
    "caption_too_long": ("long caption", "说明过长"),
    "caption_not_utf8": ("caption is no UTF-8", "说明非 UTF-8"),
    "unreadable": ("cannot be decoded", "无法解码"),
    "dropped": ("dropped", "已移除"),
}
"""Short names of flags and reasons; one that is not known is shown as it is."""

_CHINESE: Mapping[str, str] = {
    "missing_image": "图片说明引用的图片不在归档中",
    "empty_image": "图片文件没有内容",
    "damaged": "归档中此成员的校验和不符",
    "unsafe_key": "文件名无法生成可用的键",
    "duplicate_key": "更早的样本已使用相同的键",
    "duplicate": "归档中有第二个同名成员",
    "unsafe_name": "成员名指向归档之外，或含有控制字符",
    "not_a_file": "成员是链接、设备或其他特殊文件",
    "sparse": "成员是稀疏文件",
    "too_large": "成员声明的大小超过 2 GiB",
    "ratio": "成员解压后会超过其大小的一千倍",
    "encrypted": "成员已加密",
    "unsupported_method": "成员使用了不支持的压缩方法",
    "link_outside": "链接指向文件夹之外",
    "incomplete": "分片中的样本缺少图片或图片说明",
    "bad_record": "图片说明记录无法读取",
    "dropped": "已用 `g3m drop` 移除",
}
"""The reasons of core/samples.py that only packing gives."""

_MEANINGS: Mapping[str, Bilingual] = {
    **{reason: (REASONS[reason], chinese) for reason, chinese in _CHINESE.items()},
    "unreadable": ("the picture cannot be decoded", "图片无法解码"),
}


class Voice:
    """Says things in one language."""

    def __init__(self, lang: str) -> None:
        self.lang = lang
        self._column = LANGUAGES.index(lang)

    def say(self, key: str, **values: object) -> str:
        """The sentence behind a key."""
        return PAGES[key][self._column].format(**values)

    def pick(self, both: Bilingual) -> str:
        """One of two given sentences."""
        return both[self._column]

    def spell(self, code: str) -> str:
        """A flag or a reason in few words."""
        return spell(code, self.lang)

    def meaning(self, code: str) -> str:
        """What a flag or a reason means; empty if it is not known."""
        known = _MEANINGS.get(code) or DEEP.get(f"class-{code}") or meaning_of(code)
        return known[self._column] or known[0]


def spell(code: str, lang: str = "en") -> str:
    """A flag or a reason in few words, or as it is."""
    return SPELLED[code][LANGUAGES.index(lang)] if code in SPELLED else code
