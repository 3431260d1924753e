"""The pages for the people at the line: ordinary routes over the functions that `/v1` calls, without a build step.

A page is a GET that works alone, and an action a POST that answers 303 to a form and a fragment to htmx, so that every
page works with scripts off. State is in the store and in the address, never in a session. To add a page:

1. A module with a `router` (`APIRouter`), included in `router.py`. Its routes take `InspectorPageKey`,
   `ReviewerPageKey` or `AdminPageKey` of `access.py` as an argument or, where they do not need the key, depend on
   `inspector_page_key` and so on: that checks session and role, charges the key, and refuses a form that another site
   sent. They return `rendering.render(request, "NAME.html.j2", ...)`. A refusal is a
   raised `Problem`; `errors.py` shows it as a page, or to htmx as a message.
2. A template in `templates/` that extends `base.html.j2` and fills the blocks `title` and `main`; `macros.html.j2` has
   the verdict's sign. No style attribute, no script in the page: the policy of `rendering.POLICY` forbids both, and a
   test fails on a violation. Colours and common elements are in `static/pages.css`; a page's own rules are in a file
   of its own, as is its script, both added in the block `scripts` with `asset(name)`.
3. Its texts in each catalogue in `texts/`, under `area.what`; `t("area.what", name=value)` is the text. Tests compare
   the catalogues, and find keys that are missing or that nobody uses.
4. An entry in `navigation.NAVIGATION`, with the lowest role that sees it, if the navigation should lead there.
5. A row in `PAGES` of `tests/visiting.py`: axe, the policy and foreign requests are tested on every page
   of that list, light and dark, and `tools/screenshots.py` takes its picture for `docs/pages.md`.

Files under `static/vendor` are as their makers publish them; `vendor.json` has their versions, licences and hashes.
"""
