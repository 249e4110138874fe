(() => {
  "use strict";
  const root = document.documentElement;
  const all = (selector, within = document) => Array.from(within.querySelectorAll(selector));

  // Sorting: numbers by data-order, text by itself; what has no number comes last whichever way.
  const key = (row, column) => {
    const order = row.cells[column].dataset.order;
    return order === undefined ? null : Number(order.replace("inf", "Infinity"));
  };
  const words = (row, column) => row.cells[column].textContent;
  const sort = (table, head) => {
    const heads = all("thead tr:last-child th", table);
    const column = heads.indexOf(head);
    const other = { ascending: "descending", descending: "ascending" };
    const way = other[head.getAttribute("aria-sort")] || head.dataset.first;
    const sign = way === "ascending" ? 1 : -1;
    const textual = head.classList.contains("text");
    const compare = (a, b) => {
      if (textual) return sign * words(a, column).localeCompare(words(b, column), "en", { numeric: true });
      const [x, y] = [key(a, column), key(b, column)];
      if (x === null || y === null) return (x === null) - (y === null);
      return x === y ? 0 : sign * (x < y ? -1 : 1);
    };
    const body = table.tBodies[0];
    body.append(...Array.from(body.rows).sort(compare));
    heads.forEach((each) => each.setAttribute("aria-sort", each === head ? way : "none"));
  };
  all("table.sortable").forEach((table) =>
    all("thead th button", table).forEach((button) =>
      button.addEventListener("click", () => sort(table, button.closest("th")))));

  // Figures: drawn one by one while the browser has nothing else to do, in the colours of the page.
  const system = matchMedia("(prefers-color-scheme: dark)");
  const dark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const colour = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  const narrow = () => innerWidth < 640;
  const template = () => {
    const [ink, line] = [colour("--ink"), colour("--line")];
    const axis = { gridcolor: line, zerolinecolor: line, linecolor: line, automargin: true };
    const wall = { ...axis, backgroundcolor: "rgba(0,0,0,0)", color: ink };
    return {
      layout: {
        paper_bgcolor: "rgba(0,0,0,0)",
        plot_bgcolor: "rgba(0,0,0,0)",
        font: { family: getComputedStyle(document.body).fontFamily, size: narrow() ? 11 : 13, color: ink },
        xaxis: axis,
        yaxis: axis,
        scene: { xaxis: wall, yaxis: wall, zaxis: wall },
        hoverlabel: { bgcolor: colour("--surface"), bordercolor: line, font: { color: ink } },
        coloraxis: { colorbar: { outlinewidth: 0 } },
        colorway: dark()
          ? ["#9fb1ff", "#f0a35e", "#7fd1a7", "#f29bb2", "#88ccee", "#ddcc77", "#c9a6f0", "#b5bd68", "#e8eaed"]
          : ["#332288", "#cc6677", "#117733", "#b0862b", "#2a7fa8", "#882255", "#3d8f82", "#757a1f", "#aa4499"],
      },
    };
  };
  const wrapped = (text, most) => {
    const lines = [""];
    for (const word of String(text || "").split(" ")) {
      if (lines.at(-1) && lines.at(-1).length + word.length >= most) lines.push("");
      lines.push((lines.pop() + " " + word).trim());
    }
    return lines;
  };
  // How many panels stand side by side.
  const abreast = (own) => {
    const panels = Object.keys(own).filter((name) => /^(xaxis|scene)/.test(name)).map((name) => own[name].domain || {});
    return Math.max(1, new Set(panels.map((domain) => (domain.x || domain)[0] || 0)).size);
  };
  const layout = ({ data, layout: own }, width) => {
    const found = { ...own, template: template(), autosize: true };
    delete found.width;
    const narrower = narrow() && abreast(own) === 1;
    if (narrower) {
      const lines = wrapped(own.title && own.title.text, 44);
      const axes = Object.keys(own).filter((name) => /^[xy]axis/.test(name) && own[name].title && own[name].title.text);
      for (const name of axes) {
        const text = wrapped(own[name].title.text, 26).join("<br>");
        found[name] = { ...own[name], title: { ...own[name].title, text } };
      }
      // The numbers stand in a map themselves, and a scale beside it would take half of its width.
      data.filter((each) => each.type === "heatmap").forEach((each) => (each.showscale = false));
      if (own.coloraxis) found.coloraxis = { ...own.coloraxis, showscale: false };
      found.title = { ...own.title, text: lines.join("<br>"), font: { size: 13 }, x: 0.02, xanchor: "left" };
      found.margin = { ...own.margin, l: 10, r: 10, t: 40 + 16 * lines.length };
    }
    // On a phone a legend has many rows: they get room of their own, so that they squeeze no curve.
    if (narrower && own.legend && own.legend.orientation === "h") {
      const named = data.filter((each) => each.name && each.showlegend !== false);
      const texts = named.map((each) => wrapped(each.name, 46));
      named.forEach((each, number) => (each.name = texts[number].join("<br>")));
      const longest = Math.max(1, ...texts.flat().map((text) => 50 + 6 * text.length));
      const most = Math.max(1, ...texts.map((each) => each.length));
      const rows = Math.ceil(named.length / Math.max(1, Math.floor((width - 40) / longest)));
      const room = 16 + 17 * rows * most;
      const place = { x: 0, xref: "container", y: 0, yref: "container", yanchor: "bottom" };
      found.legend = { ...own.legend, ...place, font: { size: 10 } };
      found.margin = { ...found.margin, b: 50 + room };
      found.height = (own.height || 400) + room;
    }
    return found;
  };
  // Colours of print that are too dark for a dark page, and what stands for them there.
  const lighter = {
    "#332288": "#9d8df1", "51, 34, 136": "157, 141, 241",
    "#117733": "#4fc07a", "17, 119, 51": "79, 192, 122",
    "#882255": "#df6fa6", "136, 34, 85": "223, 111, 166",
    "#AA4499": "#dd8ad0", "170, 68, 153": "221, 138, 208",
    "#999933": "#c5c55c", "153, 153, 51": "197, 197, 92",
  };
  const inDark = new RegExp(Object.keys(lighter).join("|"), "g");
  const source = (drawing) => {
    const text = drawing.querySelector("script").textContent;
    return JSON.parse(dark() ? text.replace(inDark, (each) => lighter[each]) : text);
  };
  // What stands in a legend can be chosen by keyboard too; names that the next figure has as well stay chosen.
  const lines = (drawing) => {
    const select = document.querySelector(`[data-lines="${drawing.dataset.choice}"]`);
    const groups = [...new Set(JSON.parse(drawing.querySelector("script").textContent).data.map((each) => each.legendgroup))];
    const names = groups.filter(Boolean);
    const chosen = names.includes(select.value) ? select.value : "";
    select.replaceChildren(...["", ...names].map((name) => new Option(name || "all", name, false, name === chosen)));
    select.parentElement.hidden = names.length < 2;
    return chosen;
  };
  const draw = (drawing) => {
    const chart = drawing.querySelector(".chart");
    if (!chart || drawing.hidden) return;
    const only = lines(drawing);
    const figure = source(drawing);
    if (only) figure.data = figure.data.filter((each) => !each.legendgroup || each.legendgroup === only);
    const settings = { responsive: true, displaylogo: false, displayModeBar: narrow() ? false : "hover" };
    const panels = abreast(figure.layout);
    chart.style.minWidth = narrow() && panels > 1 ? `${400 * panels}px` : "";
    chart.dataset.drawn = "";
    Plotly.react(chart, figure.data, layout(figure, chart.clientWidth), settings);
  };
  const idle = window.requestIdleCallback || ((work) => setTimeout(work, 1));
  const waiting = all(".drawing").filter((each) => each.querySelector(".chart"));
  const next = () => {
    const drawing = waiting.shift();
    if (!drawing) return;
    if (!drawing.querySelector(".chart[data-drawn]")) draw(drawing);
    idle(next, { timeout: 200 });
  };
  const shown = () => all(".drawing:not([hidden])");

  // Switches: of the elements of one choice the chosen one is shown.
  const show = (choice, id) => all(`[data-choice="${choice}"]`).forEach((each) => (each.hidden = each.id !== id));
  const value = (control) => (control.matches("select") ? control.value : control.querySelector(":checked").value);
  all("[data-switch]").forEach((control) => {
    control.addEventListener("change", () => {
      show(control.dataset.switch, value(control));
      draw(document.getElementById(value(control)));
    });
    show(control.dataset.switch, value(control));
  });
  all("[data-lines]").forEach((select) =>
    select.addEventListener("change", () => all(`[data-choice="${select.dataset.lines}"]`).forEach(draw)));
  idle(next, { timeout: 200 });

  // Light and dark: the system's, until a reader asks for the other.
  const toggle = document.getElementById("theme");
  const paint = () => {
    toggle.setAttribute("aria-pressed", String(dark()));
    shown().forEach(draw);
  };
  const remembered = (theme) => {
    try {
      if (theme !== undefined) localStorage.setItem("robusteval-theme", theme);
      return localStorage.getItem("robusteval-theme");
    } catch {
      return null; // a page from a file may keep nothing
    }
  };
  if (remembered()) root.dataset.theme = remembered();
  toggle.hidden = false;
  toggle.setAttribute("aria-pressed", String(dark()));
  toggle.addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    remembered(root.dataset.theme);
    paint();
  });
  system.addEventListener("change", paint);

  // Paper is light, as wide as it is, and nothing but long lists is folded on it.
  const WIDE = 980;
  const TALL = 500;
  let before = {};
  addEventListener("beforeprint", () => {
    before = { theme: root.dataset.theme, folded: all("details:not([open])") };
    root.dataset.theme = "light";
    before.folded.filter((each) => !each.closest("#provenance")).forEach((each) => (each.open = true));
    all(".chart[data-drawn]").forEach((each) => {
      each.style.zoom = Math.min(1, WIDE / each.clientWidth, TALL / each.clientHeight);
    });
  });
  addEventListener("afterprint", () => {
    before.folded.forEach((each) => (each.open = false));
    if (before.theme) root.dataset.theme = before.theme;
    else delete root.dataset.theme;
    all(".chart[data-drawn]").forEach((each) => (each.style.zoom = ""));
  });
})();
