"""What a notebook that was run has said: its text, its figures, its tables and its results."""

import re

from bs4 import BeautifulSoup
from execution import run_notebook


def read_outputs(name):
    outputs = [out for cell in run_notebook(name).cells for out in cell.get("outputs", [])]
    text = "".join(out.get("text", "") for out in outputs if out.output_type == "stream")
    figures = [out for out in outputs if "image/png" in out.get("data", {})]
    return text, figures


def read_shown(name):
    """What the cells display, as text: tables, cards, predictions beside their results."""
    outputs = [out for cell in run_notebook(name).cells for out in cell.get("outputs", [])]
    return "\n\n".join(out["data"].get("text/plain", "") for out in outputs if "data" in out)


def read_result(name, question):
    """The result that was shown beside the prediction."""
    return re.search(rf"{re.escape(question)}.*\n.*\nThe result: (.+)", read_shown(name))[1]


def read_number(pattern, text):
    return int(re.search(pattern, text)[1].replace(",", ""))


def read_table(name, caption):
    """The cells of a table as text, by the header of their row."""
    outputs = [out for cell in run_notebook(name).cells for out in cell.get("outputs", [])]
    pages = [
        BeautifulSoup(out.get("data", {}).get("text/html", ""), "html.parser") for out in outputs
    ]
    (table,) = [
        table
        for page in pages
        for table in page.find_all("table")
        if table.caption and table.caption.text == caption
    ]
    rows = table.select("tbody tr")
    return {row.th.text: [cell.text for cell in row.find_all("td")] for row in rows}
