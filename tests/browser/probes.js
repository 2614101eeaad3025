// What tests/browser/test_looks.py asks a page about itself.
({
  // The page, if it is wider than the window, and what sticks out of it.
  tooWide() {
    const width = document.documentElement.clientWidth;
    if (document.documentElement.scrollWidth <= width) return [];
    const wide = [...document.querySelectorAll("body *")]
      .filter((e) => e.getBoundingClientRect().right > width + 1)
      .map((e) => `${e.tagName} ${e.getAttribute("class")}`);
    return ["page", ...wide.slice(0, 5)];
  },

  // Text whose colour is too close to what lies under it (WCAG 2, AA).
  tooFaint() {
    const paint = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const channels = (colour) => {
      paint.clearRect(0, 0, 1, 1);
      paint.fillStyle = colour;
      paint.fillRect(0, 0, 1, 1);
      return paint.getImageData(0, 0, 1, 1).data;
    };
    const luminance = (colour) =>
      [...channels(colour).slice(0, 3)]
        .map((v) => v / 255)
        .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const ground = (element) => {
      for (let e = element; e; e = e.parentElement) {
        const colour = getComputedStyle(e).backgroundColor;
        if (channels(colour)[3] === 255) return colour;
      }
      return "Canvas";
    };
    const seen = new Map();
    const ratio = (one, other) => {
      const key = `${one} on ${other}`;
      if (!seen.has(key)) {
        const [low, high] = [luminance(one), luminance(other)].sort((x, y) => x - y);
        seen.set(key, (high + 0.05) / (low + 0.05));
      }
      return seen.get(key);
    };
    const faint = new Set();
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
      const text = texts.currentNode.data.trim();
      const e = texts.currentNode.parentElement;
      if (!text || !e.checkVisibility() || e.closest(".hidden, title")) continue;
      const style = getComputedStyle(e);
      const colour = e.namespaceURI.endsWith("svg") ? style.fill : style.color;
      const size = parseFloat(style.fontSize);
      const least = size >= 24 || (size >= 18.66 && style.fontWeight >= 700) ? 3 : 4.5;
      const found = ratio(colour, ground(e));
      if (found < least) faint.add(`${text.slice(0, 30)}: ${found.toFixed(2)}`);
    }
    return [...faint];
  },

  // What has the focus, and whether a ring shows it.
  focus() {
    const e = document.activeElement;
    const style = getComputedStyle(e);
    return {
      name: `${e.tagName} ${(e.innerText || e.name || "").slice(0, 30)}`,
      index: [...document.querySelectorAll("*")].indexOf(e),
      isPage: e === document.body,
      // The button inside a date field has a ring of the browser's own.
      isPartOfField: ["date", "datetime-local"].includes(e.type) && !e.matches(":focus-visible"),
      hasRing: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
      isSeen: e.getBoundingClientRect().width > 1,
    };
  },
})
