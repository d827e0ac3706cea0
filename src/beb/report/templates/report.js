"use strict";
(() => {
  const drawing = JSON.parse(document.getElementById("drawing").textContent);
  const darkPage = window.matchMedia("screen and (prefers-color-scheme: dark)");
  const plots = [...document.querySelectorAll("[data-plot]")];
  const PAPER_WIDTH = 640; // px that fit between the margins of A4 and of US Letter
  let printing = false;

  const themed = (text) => {
    if (printing || !darkPage.matches) return text;
    return Object.entries(drawing.swaps).reduce(
      (done, [light, dark]) => done.replaceAll(`(${light}`, `(${dark}`), text);
  };

  const draw = (plot) => {
    const figure = JSON.parse(themed(document.getElementById(plot.dataset.plot).textContent));
    for (const button of plot.closest("figure").querySelectorAll("button[aria-pressed=false]")) {
      for (const trace of figure.data) if (trace.meta === Number(button.dataset.item)) trace.visible = false;
    }
    if (printing) Object.assign(figure.layout, { width: PAPER_WIDTH, height: Math.min(figure.layout.height, 330) });
    return Plotly.react(plot, figure.data, figure.layout, drawing.config);
  };

  const drawAll = () => plots.forEach(draw);

  for (const button of document.querySelectorAll("button[data-item]")) {
    button.disabled = false;
    button.addEventListener("click", () => {
      button.setAttribute("aria-pressed", button.getAttribute("aria-pressed") === "true" ? "false" : "true");
      draw(button.closest("figure").querySelector("[data-plot]"));
    });
  }
  darkPage.addEventListener("change", drawAll);
  window.addEventListener("beforeprint", () => { printing = true; drawAll(); });
  window.addEventListener("afterprint", () => { printing = false; drawAll(); });
  document.documentElement.classList.add("drawn");
  drawAll();
  const resized = new ResizeObserver((entries) => {
    if (!printing) entries.forEach((entry) => Plotly.Plots.resize(entry.target));
  });
  plots.forEach((plot) => resized.observe(plot));

  // Only what can be scrolled is a stop on the way of the Tab key.
  const scrollers = new ResizeObserver((entries) => entries.forEach(({ target }) => {
    const scrolls = target.scrollWidth > target.clientWidth || target.scrollHeight > target.clientHeight;
    if (scrolls) target.setAttribute("tabindex", "0");
    else target.removeAttribute("tabindex");
  }));
  document.querySelectorAll(".scroll, blockquote").forEach((box) => scrollers.observe(box));
})();
