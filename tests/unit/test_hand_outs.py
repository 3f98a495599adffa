"""Hand-outs: what is in them, what is not, and that each can be made again."""

import io
import itertools
import json
import os
import re
import tarfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from lablib.cli_release import release
from lablib.errors import GradingError
from lablib.grading.hand_outs import LEFT_OUT, TOP_FOLDER, prepare, read_students
from lablib.grading.keys import make_key
from lablib.grading.labs import LABS_DIR, list_labs, list_sources, load_lab, read_lab_data
from lablib.grading.variants import draw_lab

CHECKOUT = Path(__file__).parents[2]
KEY = b"the key of a course, kept by its instructor"
STUDENTS = [f"student-{number}" for number in range(100)]
FEW = STUDENTS[:5]
MAX_SAME_SHARE = 0.02
"""Of all pairs of students, so many at the most may take all answers to a lab from each other."""

ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen"
)
ONES += " sixteen seventeen eighteen nineteen"
TENS = "twenty thirty forty fifty sixty seventy eighty ninety"


NO_PROSE = re.compile(
    r"""`[^`]+` | ^[ ]{4,}.*$                            # code and commands
    | --\w+[ ]\d+ | hint=1 | 2[ ]says[ ]more.*?3[ ]nearly  # options
    | ^\d\.[ ] | [Ll]ab[ ]\d+ | \[\d\d[ ]· | \]\([^)]*\)  # tasks, labs, notebooks, addresses
    | About[ ]\d+[ ]minutes | \w+[ ]seconds | 10[ ]of[ ]10[ ]points""",
    re.MULTILINE | re.VERBOSE,
)
LARGE = 100
"""A number from here on that is in a program's code is not there by chance."""


@pytest.fixture(scope="module")
def hand_outs():
    return prepare(CHECKOUT)


@pytest.fixture(scope="module")
def unpacked(hand_outs, tmp_path_factory):
    """The folder of labs of each of a few students, from the archive."""
    folder = tmp_path_factory.mktemp("packed")
    for student in FEW:
        with tarfile.open(hand_outs.pack(folder, student, KEY)) as tar:
            tar.extractall(folder / student)
    return {student: folder / student / TOP_FOLDER / "labs" for student in FEW}


def read_numbers(text):
    """The numbers in a text, in digits or in words."""
    found = {int(each.replace(",", "")) for each in re.findall(r"\b\d[\d,]*\b", text)}
    words = {word: number for number, word in enumerate(ONES.split())}
    words |= {word: 10 * number for number, word in enumerate(TENS.split(), 2)}
    spoken = re.findall(r"[a-z]+", text.lower())
    return found | {words[word] for word in spoken if word in words}


def list_texts(data):
    """The texts in JSON data that a reader sees: not those that name something for the grader."""
    if isinstance(data, str):
        return [data]
    if isinstance(data, list):
        return [text for each in data for text in list_texts(each)]
    if not isinstance(data, dict):
        return []
    kept = [value for key, value in data.items() if key not in ("check", "what", "name")]
    return list_texts(kept)


def read_texts(folder):
    """All texts of a lab that was handed out, the program's among them."""
    texts = []
    for path in sorted(folder.iterdir()):
        if path.suffix in (".json", ".ipynb"):
            texts += list_texts(json.loads(path.read_text()))
        elif path.is_file():
            texts.append(path.read_text())
    return "\n".join(texts)


def read_prose(folder):
    """What a reader is told of a lab: no code, no command, no number of a lab, a task or points."""
    texts = []
    for path in sorted(folder.iterdir()):
        if path.suffix in (".c", ".h"):
            texts += re.findall(r"/\*.*?\*/", path.read_text(), re.DOTALL)
        elif path.suffix == ".ipynb":
            texts += [
                "".join(cell["source"])
                for cell in json.loads(path.read_text())["cells"]
                if cell["cell_type"] == "markdown"
            ]
        elif path.suffix == ".json":
            texts += list_texts(json.loads(path.read_text()))
        else:
            texts.append(path.read_text())
    return NO_PROSE.sub("", "\n".join(texts))


def test_numbers_are_found_in_digits_and_in_words():
    assert read_numbers("Four of 8,192 blocks, PRIu64, twenty or 3.") == {4, 8192, 20, 3}


def test_a_hand_out_has_the_labs_and_nothing_of_their_answers(hand_outs, tmp_path):
    hand_outs.write(tmp_path)
    assert not [name for name in LEFT_OUT if (tmp_path / name).exists()]
    assert os.access(tmp_path / "lab", os.X_OK)
    assert list_labs(tmp_path / "labs") == list_labs()
    for name in list_labs():
        text = (tmp_path / "labs" / name / "lab.json").read_text()
        assert not re.search(r'"(expected|feedback|parameters|names|sources|truth)"', text)
        assert '"question ' not in text
        assert not (tmp_path / "labs" / name / "families").exists()
        lab = load_lab(name, tmp_path / "labs")
        assert lab.read_source() == load_lab(name).read_source()
        assert [each.points for each in lab.questions] == [
            each.points for each in load_lab(name).questions
        ]


def test_a_hand_out_with_answers_is_judged_as_the_lab_itself(tmp_path):
    prepare(CHECKOUT, with_answers=True).write(tmp_path)
    for name in list_labs():
        assert load_lab(name, tmp_path / "labs").questions == load_lab(name).questions


def test_an_archive_follows_from_the_key_and_the_student_alone(hand_outs, tmp_path):
    packed = hand_outs.pack(tmp_path, "ada", KEY).read_bytes()
    os.utime(CHECKOUT / "README.md")
    assert prepare(CHECKOUT).pack(tmp_path, "ada", KEY).read_bytes() == packed
    assert hand_outs.pack(tmp_path, "grace", KEY).read_bytes() != packed
    assert hand_outs.pack(tmp_path, "ada", b"another").read_bytes() != packed
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        entries = tar.getmembers()
    assert {(entry.mtime, entry.uid, entry.gid, entry.uname) for entry in entries} == {
        (0, 0, 0, "")
    }
    assert {entry.mode for entry in entries} == {0o644, 0o755}


@pytest.mark.parametrize("name", list_labs())
def test_a_student_has_the_variant_that_is_judged(name, unpacked):
    for student, folder in unpacked.items():
        given, judged = load_lab(name, folder), draw_lab(load_lab(name), KEY, student)
        assert given.read_source() == judged.read_source()
        assert (given.title, given.checks) == (judged.title, judged.checks)
        assert [(each.text, each.choices, each.expected) for each in given.questions] == [
            (each.text, each.choices, None) for each in judged.questions
        ]


@pytest.mark.parametrize("name", list_labs())
def test_nothing_of_the_lab_as_it_lies_here_is_left_in_a_variant(name, unpacked):
    data, lab = read_lab_data(LABS_DIR / name), load_lab(name)
    for student, folder in unpacked.items():
        drawn = draw_lab(lab, KEY, student)
        text = read_texts(folder / name)
        words = set(re.findall(r"\w+", text))
        unused = set(drawn.rendering.names) - set(drawn.rendering.names.values())
        assert not words & unused
        numbers = drawn.rendering.numbers
        gone = {values[0] for macro, values in data.get("parameters", {}).items()}
        gone |= {each.expected for each in lab.questions if isinstance(each.expected, int)}
        still = set(numbers.values()) | {
            each.expected for each in drawn.questions if not isinstance(each.expected, str)
        }
        assert not {number for number in read_numbers(text) if number >= LARGE} & (gone - still)
        assert not read_numbers(read_prose(folder / name)) & (gone - still)


@pytest.mark.parametrize("name", list_labs())
def test_the_texts_name_no_number_of_the_variant(name, unpacked):
    for student, folder in unpacked.items():
        drawn = draw_lab(load_lab(name), KEY, student)
        prose = read_prose(folder / name)
        assert not read_numbers(prose) & set(drawn.rendering.numbers.values())


@pytest.mark.parametrize("name", list_labs())
def test_a_variant_differs_in_three_things_and_not_in_its_shape(name):
    data = read_lab_data(LABS_DIR / name)
    varied = [*data.get("parameters", ()), *data.get("names", ())]
    assert len(varied) >= 3
    assert all(
        len(set(choices)) == len(choices) > 1
        for part in ("parameters", "names")
        for choices in data.get(part, {}).values()
    )
    lab = load_lab(name)
    for student in FEW:
        drawn = draw_lab(lab, KEY, student)
        assert drawn.rendering.source != lab.rendering.source or len(
            drawn.read_source().splitlines()
        ) == len(lab.read_source().splitlines())
        assert [each.points for each in drawn.questions] == [each.points for each in lab.questions]


@pytest.mark.parametrize(
    ("name", "source"),
    [(name, source) for name in list_labs() for source in list_sources(LABS_DIR / name) or [""]],
)
def test_new_names_are_new_in_the_lab_and_the_first_is_the_one_that_lies_there(name, source):
    data = read_lab_data(LABS_DIR / name, source)
    text = read_texts(LABS_DIR / name).split('"names"')[0]
    words = set(re.findall(r"\w+", text + load_lab(name, source=source).read_source()))
    new = [new for choices in data.get("names", {}).values() for new in choices[1:]]
    sources = "\n".join(path.read_text() for path in (LABS_DIR / name).rglob("*.[ch]"))
    assert len(set(new)) == len(new)
    assert not set(re.findall(r"\w+", sources)) & set(new)
    assert all(choices[0] == old for old, choices in data.get("names", {}).items())
    assert set(data.get("names", ())) <= words
    for macro, values in data.get("parameters", {}).items():
        defined = re.findall(rf"^#define {macro}\s+(\S+)", sources, re.MULTILINE)
        assert defined
        assert set(defined) == {str(values[0])}


@pytest.mark.parametrize("name", list_labs())
def test_an_answer_of_another_student_is_rarely_right(name):
    labs = [draw_lab(load_lab(name), KEY, student) for student in STUDENTS]
    answers = [list_answers(lab) for lab in labs]
    pairs = list(itertools.combinations(answers, 2))
    same = sum(all(map(is_right, labs[0].questions, one, other)) for one, other in pairs)
    assert same / len(pairs) <= MAX_SAME_SHARE


def list_answers(lab):
    """The right answers; of what is measured, those that an instructor has reckoned."""
    path = CHECKOUT / "instructor" / lab.name / "answers.json"
    reckoned = lab.rendering.apply_to_data(json.loads(path.read_text())) if path.exists() else {}
    return [
        reckoned.get(each.name)
        if not each.choices and not isinstance(each.expected, (int, float, tuple))
        else each.expected
        for each in lab.questions
    ]


def is_right(question, answer, expected):
    if isinstance(expected, (int, float)):
        return abs(answer - expected) <= abs(expected) * question.tolerance
    return answer == expected


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "names no student"),
        ("# nobody\n\n", "names no student"),
        ("ada\n../ada\n", 'names the student "../ada"'),
        (".hidden\n", "names the student"),
        ("ada lovelace\n", "an id has only letters"),
        ("ada\ngrace\nada\n", "names ada more than once"),
    ],
)
def test_a_list_of_students_is_read_with_care(text, complaint, tmp_path):
    (tmp_path / "ids").write_text(text)
    with pytest.raises(GradingError, match=re.escape(complaint)):
        read_students(tmp_path / "ids")


def test_a_list_of_students_has_one_a_line(tmp_path):
    (tmp_path / "ids").write_text("# 2026\nada\n\n  grace@example.org\nRené\n")
    assert read_students(tmp_path / "ids") == ["ada", "grace@example.org", "René"]


def test_the_command_makes_a_key_and_an_archive_for_each(tmp_path):
    key, ids, folder = tmp_path / "key", tmp_path / "ids", tmp_path / "new" / "class"
    ids.write_text("ada\ngrace\n")
    run(release, "--new-key", key)
    said = run(release, folder, "--students", ids, "--key-file", key)
    assert "2 archives" in said
    assert f"{len(list_labs())} labs of commit" in said
    assert sorted(path.name for path in folder.iterdir()) == ["ada.tar.gz", "grace.tar.gz"]


def test_the_command_writes_into_no_folder_that_has_something(tmp_path):
    (tmp_path / "mine").write_text("")
    with pytest.raises(GradingError, match="is not empty"):
        run(release, tmp_path)


def test_what_could_not_be_made_leaves_nothing(tmp_path):
    key, ids = tmp_path / "key", tmp_path / "ids"
    make_key(key)
    ids.write_text(f"ada\n{'x' * 300}\n")
    with pytest.raises(GradingError):
        run(release, tmp_path / "class", "--students", ids, "--key-file", key)
    assert not (tmp_path / "class").exists()


def test_a_hand_out_can_not_be_released(tmp_path):
    with pytest.raises(GradingError, match="is a hand-out itself"):
        prepare(tmp_path)


def test_a_copy_that_git_does_not_know_is_refused(tmp_path):
    (tmp_path / "instructor").mkdir()
    with pytest.raises(GradingError, match="release from a clone"):
        prepare(tmp_path)


def run(command, *words):
    """What a command says; what it raises is raised."""
    ran = CliRunner().invoke(command, [str(word) for word in words], catch_exceptions=False)
    assert ran.exit_code == 0, ran.output
    return ran.output
