"use strict";
(() => {
  const drawing = JSON.parse(document.getElementById("drawing").textContent);
  const darkPage = window.matchMedia("(prefers-color-scheme: dark)");
  const plots = [...document.querySelectorAll("[data-plot]")];
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
  const resized = new ResizeObserver((entries) => entries.forEach((entry) => Plotly.Plots.resize(entry.target)));
  plots.forEach((plot) => resized.observe(plot));
})();
