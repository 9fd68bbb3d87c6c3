"""Questions to a page about how it looks, as expressions that a browser answers."""

# The contrast, as WCAG 2 reckons it, of every element that shows text of its own against what is painted behind it.
CONTRASTS = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (color) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const over = (top, under) => top.map((part, at) => at < 3 ? (part * top[3] + under[at] * (255 - top[3])) / 255 : 255);
  const light = ([r, g, b]) => [r, g, b].map((part) => part / 255)
    .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
    .reduce((sum, part, at) => sum + part * [0.2126, 0.7152, 0.0722][at], 0);
  const ground = (element) => {
    const own = rgba(getComputedStyle(element).backgroundColor);
    if (own[3] === 255) return own;
    return over(own, element.parentElement ? ground(element.parentElement) : [255, 255, 255, 255]);
  };
  const opacity = (element) => element ? Number(getComputedStyle(element).opacity) * opacity(element.parentElement) : 1;
  const hasText = (element) => [...element.childNodes].some((node) => node instanceof Text && node.data.trim());
  const showsText = (element) => hasText(element) && !element.closest(".sr, .follows .head, :disabled")
    && element.checkVisibility({ visibilityProperty: true });
  return [...document.body.querySelectorAll("*")].filter(showsText).map((element) => {
    const behind = ground(element);
    const ink = rgba(getComputedStyle(element).color);
    const shown = over([ink[0], ink[1], ink[2], ink[3] * opacity(element)], behind);
    const [low, high] = [light(shown), light(behind)].sort((a, b) => a - b);
    const what = `${element.tagName} ${element.className}: ${element.textContent.slice(0, 40)}`;
    return [(high + 0.05) / (low + 0.05), what];
  });
}"""

OVERFLOWING = """() => [...document.querySelectorAll("body *")]
  .filter((element) => element.checkVisibility() && !element.closest(".sr, pre, .rooms, .symbols, .avatar, .skip"))
  .filter((element) => element.getBoundingClientRect().right > window.innerWidth + 1)
  .map((element) => element.outerHTML.slice(0, 120))"""
