"""Names in any of the large scripts are drawn with fonts that lie in the document."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from fontTools.ttLib import TTFont  # type: ignore[import-untyped]  # has none
from pypdf import PdfReader

from billtrack.presentation.pdf import pdf
from billtrack.presentation.pdf.pdf import PdfRenderer, missing_font_packages
from billtrack.presentation.pdf.rendering import STATIC, render_pdf

NAMES = {
    "Łódź Şişli Ñandú": "Inter-Print-Latin",
    "Công ty Ấn Độ": "Inter-Print-Vietnamese",
    "Ελληνική Εταιρεία": "Inter-Print-Greek",
    "ООО «Пример»": "Inter-Print-Cyrillic",
    "Қазақстан": "Inter-Print-Cyrillic-More",
    "شركة الاختبار": "Print-Arabic",
    "חברת הבדיקות": "Print-Hebrew",
    "บริษัท ข้อมูลไทย": "Print-Thai",
    "भारतीय सेवा": "Print-Devanagari",
}
FAR_EAST = ("山田 太郎 株式会社テスト", "北京数据服务有限公司", "주식회사 한국데이터")
PAGE = '<html lang="en"><title>x</title><body><p>{name}</p><p><b>{name}</b> 42</p></body></html>'

RENDER = """
import sys
from billtrack.presentation.pdf.rendering import render_pdf
sys.stdout.buffer.write(render_pdf(sys.stdin.read(), "same"))
"""
NO_FONTS = """<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "urn:fontconfig:fonts.dtd">
<fontconfig><cachedir>{folder}</cachedir></fontconfig>"""


def fonts_in(document: bytes) -> dict[str, bool]:
    """Return the fonts of a document, without their tags, and whether each is embedded."""
    found: dict[str, bool] = {}
    for page in PdfReader(BytesIO(document)).pages:
        resources: Any = page["/Resources"].get_object()
        for reference in resources["/Font"].values():
            font = reference.get_object()
            descriptor = font["/DescendantFonts"][0].get_object()["/FontDescriptor"].get_object()
            name = str(font["/BaseFont"]).partition("+")[2]
            found[name] = "/FontFile2" in descriptor or "/FontFile3" in descriptor
    return found


@pytest.mark.parametrize(("name", "font"), NAMES.items())
def test_it_draws_a_name_with_the_packaged_font(name: str, font: str) -> None:
    document = render_pdf(PAGE.format(name=name), "test")
    fonts = fonts_in(document)
    assert font in fonts
    assert all(fonts.values()), fonts
    assert all("Print" in used for used in fonts), fonts


@pytest.mark.skipif(bool(missing_font_packages()), reason="needs fonts-noto-cjk")
@pytest.mark.parametrize("name", FAR_EAST)
def test_it_draws_the_far_east_with_the_font_of_the_system(name: str) -> None:
    document = render_pdf(PAGE.format(name=name), "test")
    fonts = fonts_in(document)
    assert any(used.startswith("Noto-Sans-CJK-SC") for used in fonts), fonts
    assert all(fonts.values()), fonts
    assert name in PdfReader(BytesIO(document)).pages[0].extract_text()


@pytest.mark.parametrize("name", ["Łódź Ấn Độ", "ООО «Пример»", "भारतीय", "חברת", "شركة"])
def test_text_can_be_copied_out(name: str) -> None:
    text = PdfReader(BytesIO(render_pdf(PAGE.format(name=name), "test"))).pages[0].extract_text()
    assert sorted(set(name)) == sorted(set(text) & set(name))


def test_a_machine_without_fonts_makes_the_same_bytes(tmp_path: Path) -> None:
    page = PAGE.format(name=" ".join(NAMES))
    nothing = tmp_path / "fonts.conf"
    nothing.write_text(NO_FONTS.format(folder=tmp_path / "cache"), encoding="utf-8")
    assert render_elsewhere(page, FONTCONFIG_FILE=str(nothing)) == render_elsewhere(page)


def test_a_missing_font_is_no_reason_to_fail(tmp_path: Path) -> None:
    nothing = tmp_path / "fonts.conf"
    nothing.write_text(NO_FONTS.format(folder=tmp_path / "cache"), encoding="utf-8")
    page = PAGE.format(name=FAR_EAST[0])
    assert render_elsewhere(page, FONTCONFIG_FILE=str(nothing)).startswith(b"%PDF")


def render_elsewhere(page: str, **environment: str) -> bytes:
    """Render in a process of its own."""
    answer = subprocess.run(
        [sys.executable, "-c", RENDER],
        input=page.encode(),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
        capture_output=True,
        check=True,
    )
    return answer.stdout


def test_it_names_the_package_of_missing_fonts(monkeypatch: pytest.MonkeyPatch) -> None:
    # Asks the system for real, for a language that no font is for.
    monkeypatch.setattr(pdf, "FONTS", {"xx-nowhere": "fonts-billtrack-nowhere"})
    assert missing_font_packages() == ["fonts-billtrack-nowhere"]


@pytest.mark.parametrize("weight", [400, 600])
def test_all_figures_are_of_one_width(weight: int) -> None:
    font = TTFont(STATIC / "fonts" / "noto-sans" / f"noto-sans-latin-{weight}-normal.woff")
    glyphs, widths = font.getBestCmap(), font["hmtx"]
    digits = {widths[glyphs[ord(digit)]][0] for digit in "0123456789"}
    assert digits == {572}  # print.css says so, too
    if weight == 400:
        assert {widths[glyphs[ord(mark)]][0] for mark in ",."} == {268}
        assert widths[glyphs[ord("−")]][0] == 572


@pytest.mark.parametrize("path", sorted((STATIC / "fonts").rglob("*.woff")), ids=lambda p: p.name)
def test_a_font_is_used_and_has_its_licence_beside(path: Path) -> None:
    assert (path.parent / "LICENSE").is_file()
    style_sheet = (STATIC / "fonts" / "print.css").read_text(encoding="utf-8")
    assert f'url("{path.relative_to(STATIC / "fonts")}")' in style_sheet


def test_it_leaves_no_unpacked_fonts_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    renderer = PdfRenderer(processes=1)
    renderer.render(PAGE.format(name="x"), identifier="test")
    assert list(tmp_path.rglob("weasyprint-*/*"))
    renderer.close()
    assert list(tmp_path.iterdir()) == []
