"use strict";
(() => {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const places = [...document.querySelectorAll("[data-figure]")];

  /** Replaces "var(--name)" by the colour of the current theme, anywhere in a figure. */
  const coloured = (value, style) => {
    if (typeof value === "string") {
      const match = /^var\((--[\w-]+)\)$/.exec(value);
      return match ? style.getPropertyValue(match[1]).trim() : value;
    }
    if (Array.isArray(value)) return value.map((item) => coloured(item, style));
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, coloured(item, style)]));
    }
    return value;
  };

  const axis = (given) => ({
    gridcolor: "var(--grid)", linecolor: "var(--line)", zeroline: false, ticks: "", automargin: true,
    ...given, title: { font: { size: 12.5 }, standoff: 10, ...(given || {}).title },
  });

  /** Names that fit into the room they have, a share of the chart's width. */
  const fitting = (annotations, width) => (annotations || [])
    .filter((item) => item.room === undefined || item.room * (width - 70) > item.text.length * 6.3)
    .map(({ room, ...item }) => item);

  const draw = () => {
    const style = getComputedStyle(document.documentElement);
    const font = getComputedStyle(document.body).fontFamily;
    for (const place of places) {
      const figure = figures[Number(place.dataset.figure)];
      const layout = {
        paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
        font: { family: font, size: 12, color: "var(--quiet)" },
        margin: { l: 52, r: 12, t: figure.layout.annotations ? 26 : 12, b: 44 },
        legend: { orientation: "h", x: 0, y: -0.22, yanchor: "top", font: { color: "var(--text)" } },
        hoverlabel: {
          align: "left", bgcolor: "var(--surface)", bordercolor: "var(--line)", font: { family: font, color: "var(--text)", size: 12.5 },
        },
        ...figure.layout, xaxis: axis(figure.layout.xaxis), yaxis: axis(figure.layout.yaxis),
        annotations: fitting(figure.layout.annotations, place.clientWidth),
      };
      const config = { responsive: true, displaylogo: false, displayModeBar: false };
      Plotly.react(place, coloured(figure.data, style), coloured(layout, style), config);
    }
  };

  draw();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
})();
