// Draws the figures of executed notebooks, as wide as the page.
for (const box of document.querySelectorAll(".figure")) {
  const figure = JSON.parse(box.querySelector("script").textContent);
  const inner = document.createElement("div");
  box.replaceChildren(inner);
  const layout = {...figure.layout, autosize: true, width: undefined, height: figure.layout.height ?? 440};
  Plotly.newPlot(inner, figure.data, layout, {responsive: true, displaylogo: false});
}
