"""The quiz in a browser: by keyboard alone, with reasons, kept, exported and imported, and readable without scripts."""

import json

import pytest

QUIZ = "book/quizzes/start"
LECTURE = "book/start/iam_and_security"
REFUSE_STORAGE = """
    for (const name of ["getItem", "setItem"])
        Storage.prototype[name] = () => { throw new DOMException("refused", "SecurityError"); };
"""


def item(page, name):
    """The form of one question."""
    return page.locator(f'[data-id="{name}"]')


def feedback(form):
    return form.locator(".quiz-feedback").inner_text()


def right_places(form):
    """Which options are right, as the page itself says in its folded answer."""
    return form.locator(".quiz-answer li").evaluate_all(
        "all => all.map((one, place) => one.dataset.right === 'true' ? place : -1).filter((place) => place >= 0)"
    )


def press(page, *keys):
    for key in keys:
        page.keyboard.press(key)


def focused(page, selector):
    return page.evaluate("selector => document.activeElement.matches(selector)", selector)


def test_a_single_choice_by_keyboard(visitor):
    with visitor.open(QUIZ) as page:
        form = item(page, "tour-1")
        (right,) = right_places(form)
        form.locator("input").first.focus()
        press(page, "Space", *["ArrowDown"] * right, "Enter")
        assert "Right." in feedback(form)
        reasons = form.locator(".quiz-reason").all_inner_texts()
        assert len(reasons) == 4
        assert [place for place, reason in enumerate(reasons) if "is right." in reason] == [right]
        described = form.locator("input").nth(right).get_attribute("aria-describedby")
        assert page.locator(f"#{described}").inner_text() == reasons[right]
        assert focused(page, "input[type=radio]")


def test_a_wrong_choice_says_why_and_can_be_tried_again(visitor):
    with visitor.open(QUIZ) as page:
        form = item(page, "tour-1")
        wrong = next(place for place in range(4) if place not in right_places(form))
        form.locator("input").nth(wrong).focus()
        press(page, "Space", "Enter")
        assert "Not right" in feedback(form)
        assert "is wrong." in form.locator(".quiz-reason").nth(wrong).inner_text()
        form.get_by_role("button", name="Try again").press("Enter")
        assert form.locator(".quiz-reason").count() == 0
        assert feedback(form) == ""
        assert form.locator("input:checked").count() == 0
        assert focused(page, '[data-id="tour-1"] input')


def test_a_multiple_choice_by_keyboard(visitor):
    with visitor.open(QUIZ) as page:
        form = item(page, "tour-4")
        right = right_places(form)
        form.locator("input").first.focus()
        for place in range(4):
            if place == right[0]:
                press(page, "Space")
            press(page, "Tab")
        assert focused(page, ".quiz-check")
        press(page, "Enter")
        assert f"right but not chosen: {len(right) - 1}" in feedback(form)
        for place in right[1:]:
            form.locator("input").nth(place).press("Space")
        press(page, "Enter")
        assert "Right." in feedback(form)


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("0.008", "Right."),
        ("0,008", "Right."),
        ("8e-3", "Right."),
        ("0.8%", "Right."),
        (" .008 ", "Right."),
        ("0.488", "at least one attempt fails"),
        ("7", "Not right."),
        ("many", "Enter a number first"),
        ("", "Enter a number first"),
        ("1,2,3", "Enter a number first"),
    ],
)
def test_a_number_by_keyboard(visitor, typed, expected):
    with visitor.open(QUIZ) as page:
        form = item(page, "tour-3")
        form.locator("input").focus()
        page.keyboard.type(typed)
        press(page, "Enter")
        assert expected in feedback(form)
        counted = page.evaluate("JSON.parse(localStorage.getItem('cloud-scale-labs.quiz'))")
        assert ("tour-3" in counted) is ("Enter" not in expected)


def test_thousands_may_be_separated(visitor):
    with visitor.open("book/quizzes/week1_aws") as page:
        form = item(page, "endpoint-6")
        form.locator("input").focus()
        page.keyboard.type("250,000")
        press(page, "Enter")
        assert "Right." in feedback(form)


def test_an_ordering_by_keyboard(visitor):
    with visitor.open(QUIZ) as page:
        form = item(page, "tour-6")
        steps = form.locator(".quiz-steps > li")
        assert steps.evaluate_all("all => all.some((one, place) => Number(one.dataset.place) !== place)")
        count = steps.count()
        for wanted in range(count):
            step = form.locator(f'li[data-place="{wanted}"]')
            up = step.get_by_role("button", name="Move up")
            up.focus()
            now = step.evaluate("one => [...one.parentElement.children].indexOf(one)")
            press(page, *["Enter"] * (now - wanted))
            if now > wanted:
                assert f"is now step {wanted + 1} of {count}" in feedback(form)
                assert focused(page, f'li[data-place="{wanted}"] button')
        form.locator(".quiz-check").press("Enter")
        assert "Right." in feedback(form)


def test_every_control_has_a_name_and_can_be_reached_by_tab(visitor):
    with visitor.open(LECTURE) as page:
        page.locator(".quiz input").first.focus()
        reached = 0
        while page.evaluate("document.activeElement.closest('.quiz') !== null"):
            reached += 1
            name = page.evaluate("(document.activeElement.labels?.[0] ?? document.activeElement).textContent.trim()")
            assert name
            press(page, "Tab")
        forms = page.locator(".quiz-item").count()
        assert reached >= 2 * forms + 3  # radios are one stop; then Check; then export, import, forget


def answer_first(page, name="iam-1"):
    form = item(page, name)
    form.locator("input").nth(right_places(form)[0]).check()
    form.locator(".quiz-check").click()
    return form


def test_progress_is_kept_and_shared_between_lecture_and_quiz_page(visitor):
    with visitor.profile() as context:
        page = visitor.visit(context, LECTURE)
        answer_first(page)
        assert page.locator(".quiz-score").first.inner_text() == "1 of 3 answered, 1 right."
        page.reload()
        assert "Right." in feedback(item(page, "iam-1"))
        assert item(page, "iam-1").locator(".quiz-reason").count() == 4
        other = visitor.visit(context, QUIZ)
        assert "Right." in feedback(item(other, "iam-1"))


def test_progress_of_a_question_that_has_changed_is_not_shown(visitor):
    with visitor.profile() as context:
        page = visitor.visit(context, LECTURE)
        answer_first(page)
        page.evaluate(
            """() => {
                const kept = JSON.parse(localStorage.getItem("cloud-scale-labs.quiz"));
                kept["iam-1"].version = "other";
                localStorage.setItem("cloud-scale-labs.quiz", JSON.stringify(kept));
            }"""
        )
        page.reload()
        assert feedback(item(page, "iam-1")) == ""
        assert page.locator(".quiz-score").first.inner_text() == "0 of 3 answered, 0 right."


def test_progress_is_exported_forgotten_and_imported(visitor, tmp_path):
    with visitor.profile(accept_downloads=True) as context:
        page = visitor.visit(context, LECTURE)
        answer_first(page)
        with page.expect_download() as download:
            page.get_by_role("button", name="Export answers").press("Enter")
        file = tmp_path / download.value.suggested_filename
        download.value.save_as(file)
        saved = json.loads(file.read_text())
        assert (saved["format"], saved["version"]) == ("cloud-scale-labs quiz progress", 1)
        assert saved["items"]["iam-1"]["right"] is True

        page.get_by_role("button", name="Forget this page's answers").press("Enter")
        assert page.locator(".quiz-score").first.inner_text() == "0 of 3 answered, 0 right."
        page.reload()
        assert feedback(item(page, "iam-1")) == ""

        page.locator(".quiz-tools input[type=file]").set_input_files(file)
        page.get_by_text("Imported 1 answer").wait_for()
        assert "Right." in feedback(item(page, "iam-1"))
        assert not page.failures


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"format": "other", "version": 1, "items": {}}', '{"items": {"iam-1": {}}}']
)
def test_a_file_that_is_no_export_is_refused(visitor, tmp_path, text):
    file = tmp_path / "wrong.json"
    file.write_text(text)
    with visitor.open(LECTURE) as page:
        answer_first(page)
        page.locator(".quiz-tools input[type=file]").set_input_files(file)
        page.get_by_text("wrong.json was not imported").wait_for()
        assert "Right." in feedback(item(page, "iam-1"))


@pytest.mark.parametrize(
    "kept", ["{", "[1]", '"x"', "null", '{"iam-1": {"answer": "0", "right": 1}}', '{"iam-1": null}']
)
def test_what_else_is_found_in_the_browser_does_no_harm(visitor, kept):
    with visitor.profile() as context:
        context.add_init_script(f"localStorage.setItem('cloud-scale-labs.quiz', {kept!r})")
        page = visitor.visit(context, LECTURE)
        assert feedback(answer_first(page)).startswith("✔ Right.")
        assert not page.failures


def test_a_browser_that_keeps_nothing_can_still_answer_and_export(visitor):
    with visitor.profile() as context:
        context.add_init_script(REFUSE_STORAGE)
        page = visitor.visit(context, LECTURE)
        assert "does not let the page keep your answers" in page.locator(".quiz-note").inner_text()
        assert "Right." in feedback(answer_first(page))
        with page.expect_download() as download:
            page.get_by_role("button", name="Export answers").click()
        assert "iam-1" in json.loads(download.value.path().read_text())["items"]


def test_without_scripts_questions_and_answers_can_be_read(visitor):
    with visitor.open(LECTURE, java_script_enabled=False) as page:
        form = item(page, "iam-1")
        assert form.locator(".quiz-question").is_visible()
        assert form.locator(".quiz-option").count() == 4
        reason = form.locator(".quiz-answer li").first
        assert not reason.is_visible()
        form.locator("summary").click()
        assert reason.is_visible()
        assert page.locator(".quiz-check").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_after_answering(visitor, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe. Install it: ./lab setup")
    with visitor.open(QUIZ, color_scheme=scheme, viewport={"width": 375, "height": 812}) as page:
        for name in ("tour-1", "tour-2", "tour-4"):
            form = item(page, name)
            form.locator("input").first.check()
            form.locator(".quiz-check").click()
        item(page, "tour-3").locator("input").fill("7")
        item(page, "tour-3").locator(".quiz-check").click()
        item(page, "tour-3").locator("summary").click()
        found = axe.Axe().run(page, ".quiz").response["violations"]
        assert [each["id"] for each in found if each["impact"] in ("serious", "critical")] == []
        assert page.evaluate("document.documentElement.scrollWidth") <= 375
