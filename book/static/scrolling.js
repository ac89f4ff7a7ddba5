/* What scrolls sideways on a narrow screen can be reached, and then scrolled, with the keyboard. */
(() => {
  "use strict";
  const wide = ".bd-article figure, .bd-article .pst-scrollable-table-container, .bd-article pre, .bd-article .output";
  const mark = () => document.querySelectorAll(wide).forEach((element) => {
    if (element.scrollWidth > element.clientWidth + 1) element.tabIndex = 0;
    else element.removeAttribute("tabindex");
  });
  document.addEventListener("DOMContentLoaded", mark);
  window.addEventListener("load", mark);
  window.addEventListener("resize", mark);
})();
