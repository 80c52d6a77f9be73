// Unpacks plotly.js, which the page holds compressed, and draws each plot in the place of its picture.
(async () => {
  const packed = Uint8Array.from(atob(document.querySelector("script.library").textContent), (sign) => sign.charCodeAt(0));
  const unpacked = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const library = document.createElement("script");
  library.textContent = await new Response(unpacked).text();
  document.head.append(library);
  for (const plot of document.querySelectorAll(".plot")) {
    const { data, layout } = JSON.parse(plot.querySelector("script").textContent);
    plot.classList.add("drawn");
    await window.Plotly.newPlot(plot.querySelector(".drawing"), data, layout, { responsive: true, displaylogo: false });
  }
})();
