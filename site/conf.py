"""The course as a site: how Sphinx builds it. `tools/build_site.py` gathers the sources and calls Sphinx."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # for course_pages and living

project = "vaelib"
author = "the vaelib authors"
copyright = "the vaelib authors; code MIT, text CC BY 4.0"
root_doc = "index"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "course_pages", "living"]
templates_path = ["_templates"]

# Notebooks as they were executed: nbval holds their outputs, and the site only shows them.
nb_execution_mode = "off"
nb_render_markdown_format = "myst"
nb_ipywidgets_js = {}  # else two scripts from elsewhere
nb_code_prompt_show = "Show the code"
nb_code_prompt_hide = "Hide the code"
nb_output_prompt_show = "Show what came out"
nb_output_prompt_hide = "Hide what came out"
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
suppress_warnings = ["myst.header"]  # a cell may begin with a lower heading

# Docstrings are plain text with `code`; `course_pages` makes reStructuredText of them.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # else a field of a tuple is described twice
napoleon_custom_sections = ["Source"]
toc_object_entries = False

# Formulas are drawn by a MathJax of our own, without its menu: with it, every formula is a stop for the keyboard.
mathjax_path = "mathjax/tex-svg-full.js"
mathjax3_config = {"options": {"enableMenu": False}, "svg": {"fontCache": "global"}}

html_theme = "sphinx_book_theme"
html_title = "vaelib"
html_context = {"default_mode": "auto"}  # light or dark, as the reader has it
html_static_path = ["_static"]
html_favicon = "_static/favicon.svg"
html_css_files = ["site.css"]
html_js_files = ["site.js"]
html_theme_options = {
    "navbar_persistent": [],  # else there are two boxes for the search
    "use_fullscreen_button": False,
    "show_navbar_depth": 0,
    "max_navbar_depth": 2,
    "home_page_in_toc": True,
    "toc_title": "On this page",
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
if "GITHUB_REPOSITORY" in os.environ:  # where the site is published, chapters can be opened in Colab and on Binder
    html_theme_options |= {
        "repository_url": f"https://github.com/{os.environ['GITHUB_REPOSITORY']}",
        "use_repository_button": True,
        "path_to_docs": ".",
        "launch_buttons": {"colab_url": "https://colab.research.google.com", "binderhub_url": "https://mybinder.org"},
    }
html_use_index = html_domain_indices = False  # the search and the reference's first page do it
html_show_sourcelink = False
html_last_updated_fmt = None
