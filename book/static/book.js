/* The book's few lines of script; every page can be read without them. */
(() => {
  "use strict";

  // Search shows an excerpt of each result, for which it fetches the page. From disk browsers do not allow that.
  if (location.protocol === "file:" && typeof DOCUMENTATION_OPTIONS !== "undefined") {
    DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
  }

  // What scrolls sideways on a narrow screen can be reached, and then scrolled, with the keyboard.
  const wide = ".bd-article figure, .bd-article .pst-scrollable-table-container, .bd-article pre, .bd-article .output";
  const mark = () => document.querySelectorAll(wide).forEach((element) => {
    if (element.scrollWidth > element.clientWidth + 1) element.tabIndex = 0;
    else element.removeAttribute("tabindex");
  });
  document.addEventListener("DOMContentLoaded", mark);
  window.addEventListener("load", mark);
  window.addEventListener("resize", mark);
})();
