// What the tests ask a page about itself; set beside axe, once for each page that is loaded.
const COLOURS = ["color-contrast", "link-in-text-block"];
// Only what told() and tooFaint() read: the rest of the answer takes as long as the looking.
const BRIEFLY = { resultTypes: ["violations", "incomplete"], selectors: false };
const told = (rule) =>
  rule.nodes.map((node) => `${rule.id} (${rule.impact}): ${node.html.slice(0, 160)}`);

window.probes = {
  // What is wrong whatever the colours, each fault as one line. seen: selectors of what is known.
  async faults(seen) {
    const rules = Object.fromEntries(COLOURS.map((id) => [id, { enabled: false }]));
    const found = await axe.run({ exclude: seen }, { rules, ...BRIEFLY });
    return [
      ...this.tooWide().map((name) => `too wide: ${name}`),
      ...found.violations.flatMap(told),
      ...found.incomplete.flatMap(told),
    ];
  },

  // What cannot be told from what lies under or beside it.
  async faintness(seen) {
    const options = { runOnly: COLOURS, elementRef: true, ...BRIEFLY };
    const found = await axe.run({ exclude: seen }, options);
    const contrast = (rule) => rule.id === "color-contrast";
    const undecided = found.incomplete.filter(contrast).flatMap((rule) => rule.nodes);
    return [
      ...found.violations.flatMap(told),
      ...found.incomplete.filter((rule) => !contrast(rule)).flatMap(told),
      ...this.tooFaint(undecided.map((node) => node.element)),
    ];
  },

  // The page, if it is wider than the window, and what sticks out of it.
  tooWide() {
    const width = document.documentElement.clientWidth;
    if (document.documentElement.scrollWidth <= width) return [];
    const wide = [...document.querySelectorAll("body *")]
      .filter((e) => e.getBoundingClientRect().right > width + 1)
      .map((e) => `${e.tagName} ${e.getAttribute("class")}`);
    return ["page", ...wide.slice(0, 5)];
  },

  // What axe cannot judge: texts in drawings, whose colour is their fill and which it takes for
  // pictures, and texts scrolled out of sight. Those whose colour is too close to what lies
  // under them (WCAG 2, AA).
  tooFaint(undecided) {
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
    const faint = new Set();
    for (const e of new Set([...document.querySelectorAll("svg text"), ...undecided])) {
      if (!e.checkVisibility()) continue;
      const style = getComputedStyle(e);
      const colour = e.namespaceURI.endsWith("svg") ? style.fill : style.color;
      const [low, high] = [colour, ground(e)].map(luminance).sort((x, y) => x - y);
      const ratio = (high + 0.05) / (low + 0.05);
      if (ratio < 4.5) faint.add(`too faint: ${e.textContent.slice(0, 30)}: ${ratio.toFixed(2)}`);
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
};
