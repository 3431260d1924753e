"""Tables in Markdown: every cell stays in its column, names stand to the left and numbers to the right."""

from gonogo.evaluation.tables import markdown_table, readable


def test_a_bar_or_a_line_end_in_a_cell_ends_no_column():
    lines = markdown_table(["", "a|b"], [["one|two", "x\ny"], [readable("p|q"), "1"]])
    assert lines == ["|  | a\\|b |", "| --- | ---: |", "| one\\|two | x y |", "| p\\|q | 1 |"]


def test_so_many_names_as_are_said_stand_to_the_left_and_so_does_what_has_no_head():
    _, rule, _ = markdown_table(["variant", "category", "recall", ""], [["pca", "brick", "1", "better"]], n_names=2)
    assert rule == "| --- | --- | ---: | --- |"
    assert markdown_table(["a"], []) == []
