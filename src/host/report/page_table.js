/* page_table.js: the sortable table of a row's tokens, the list of rows, and scores over the numbers of a time series. */

const TABLE_ROWS = 200; // shown at first
const table = { by: 'rank', up: true, rows: TABLE_ROWS };

function drawTable() {
  const section = views.get('table').section, line = lines[state.line], { order, total } = ranked(line);
  const columns = [['rank', (g) => g.rank], ['position', (g) => g.t], ['token', null], ['score', (g) => g.value]];
  if (line.errors && state.group === 'token' && line.errors.some((e) => !Number.isNaN(e))) columns.push(['± error', (g) => line.errors[g.t]]);
  if (line.minus && state.group === 'token') columns.push(['first', (g) => line.plus[g.t]], ['second', (g) => line.minus[g.t]]);
  columns.push(['share %', (g) => 100 * Math.abs(g.value) / total]);
  if (!columns.some(([name]) => name === table.by)) table.by = 'rank';
  const text = (g) => line.tokens.slice(g.t, g.end).map(visible).join('');
  const key = columns.find(([name]) => name === table.by)[1] || text;
  const rows = order.slice().sort((a, b) => {
    const x = key(a), y = key(b);
    return ((x < y ? -1 : x > y ? 1 : 0) * (table.up ? 1 : -1)) || a.rank - b.rank;
  });
  const scale = makeScale(order.map((g) => g.value), line.diverges, (i) => state.skip && isSpecial(line.tokens[order[i].t], order[i].t));
  const head = columns.map(([name]) => make('th', { scope: 'col', 'aria-sort': name !== table.by ? 'none' : table.up ? 'ascending' : 'descending' },
    make('button', { type: 'button', onclick: () => { table.up = table.by === name ? !table.up : true; table.by = name; drawTable(); } },
      name + (name !== table.by ? '' : table.up ? ' ▲' : ' ▼'))));
  const body = rows.slice(0, table.rows).map((g) => make('tr', {}, ...columns.map(([name, value]) => (name === 'token'
    ? make('td', {}, make('span', { class: `token ${line.diverges ? 'd' : 'b'}${scale.step(g.value)}` }, text(g)))
    : make('td', { class: 'n' }, Number.isInteger(value(g)) ? String(value(g)) : figure(value(g), name === 'share %' ? 3 : 5))))));
  const more = rows.length > table.rows ? [make('button', { type: 'button', onclick: () => { table.rows = Infinity; drawTable(); } },
    `show all ${rows.length}`)] : [];
  section.replaceChildren(make('h2', {}, 'Scores'), make('p', { class: 'note' }, ...rowTitle(line), groupNote(line)),
    make('table', { class: 'scores' }, make('thead', {}, make('tr', {}, ...head)), make('tbody', {}, ...body)), ...more);
}

function rowTitle(line) {
  const panel = document.getElementById(`line-${line.index}`).cloneNode(true);
  return [...panel.querySelector('h3').childNodes, ': ', ...panel.querySelector('.explained').childNodes];
}

/* ---- rows of scores as a list, and as a map where they are of the same tokens --------------------------------------------------------- */

function drawTargets() {
  const section = views.get('targets').section, of = lines[state.line];
  [...section.querySelectorAll('tbody tr')].forEach((row, i) => {
    row.setAttribute('aria-selected', i === state.line);
    row.onclick = () => set({ line: i, pin: -1, view: 'text' });
    row.querySelector('a').onclick = (event) => event.preventDefault();
  });
  let box = section.querySelector('.drawing');
  if (!box) {
    box = make('div', { class: 'drawing' });
    section.append(box);
  }
  const rows = lines.filter((line) => line.same === of.same && line.diverges === of.diverges);
  if (rows.length < 2) {
    box.replaceChildren();
    return;
  }
  const values = rows.map((line) => ranked(line).values);
  drawMap(box, {
    rows: rows.length, columns: of.tokens.length, tokens: of.tokens, diverges: of.diverges, rowNames: rows.map(explainedText),
    value: (r, c) => (c < rows[r].n ? values[r][c] : 0), blank: (r, c) => c >= rows[r].n,
    say: (r, c) => facts(rows[r], c), choose: (r) => set({ line: rows[r].index, view: 'text', pin: -1 }),
  });
}

function explainedText(line) {
  const cells = views.get('targets').section.querySelectorAll('tbody tr')[line.index].children;
  return `${line.index + 1}: ${cells[1].textContent}`;
}

/* ---- time series: numbers between delimiters, as the tokens spell them ---------------------------------------------------------------- */

/* [{t, end, value}] if at least 80 % of the tokens that are no delimiters belong to numbers, else null. */
function seriesOf(line) {
  const numbers = data.series[line.result].map(([t, n, value]) => ({ t, end: t + n, value }));
  const words = line.tokens.filter((token, t) => !/^[\s,;:|()[\]]*$/.test(token.text || '') && !isSpecial(token, t)).length;
  const digits = numbers.reduce((sum, number) => sum + number.end - number.t, 0);
  return numbers.length > 0 && digits >= 0.8 * words ? numbers : null;
}

function addSeries(before) {
  if (views.has('series') || !lines.some(seriesOf)) return;
  const section = make('section', { class: 'scripted' });
  before.after(section);
  addView('series', 'Time series', section, drawSeries);
}

function drawSeries() {
  const section = views.get('series').section, line = lines[state.line], numbers = seriesOf(line);
  section.replaceChildren(make('h2', {}, 'Time series'));
  if (!numbers) {
    section.append(make('p', {}, 'The tokens of this row are no series of numbers.'));
    return;
  }
  const score = (scores, n) => {
    let sum = 0;
    for (let t = n.t; t < Math.min(n.end, line.n); t++) sum += line.adds ? scores[t] : scores[t] * scores[t];
    return line.adds ? sum : Math.sqrt(sum);
  };
  const counted = numbers.map((n, i) => ({ ...n, i, score: score(line.plus, n) - (line.minus ? score(line.minus, n) : 0), out: state.skip && isSpecial(line.tokens[n.t], n.t) }));
  section.append(make('p', { class: 'note' }, `Bars: scores (left axis); line: the numbers that the tokens spell (right axis). A number of several tokens `
    + `has ${line.adds ? 'the sum of their scores' : 'the root of the sum of their squared scores'}. Red bar: the target. `, ...rowTitle(line)),
    seriesFigure(counted, line));
}

function seriesFigure(numbers, line) {
  const W = 960, H = 320, left = 64, right = 64, top = 16, bottom = 36, width = W - left - right, height = H - top - bottom;
  const ends = (values) => [Math.min(...values), Math.max(...values)];
  const sizes = numbers.filter((n) => !n.out && Number.isFinite(n.score)).map((n) => n.score);
  const [low, high] = ends([0, ...sizes]), [least, most] = ends(numbers.map((n) => n.value));
  const inside = numbers.findIndex((n) => n.end > line.position + 1), target = inside < 0 ? numbers.length : inside; // it may come after the last
  const slots = Math.max(numbers.length, target + 1), x = (i) => left + width * (i + 0.5) / slots, bar = Math.max(0.5, 0.8 * width / slots);
  const y = (v) => top + height * (1 - (Math.min(high, Math.max(low, v)) - low) / (high - low || 1));
  const yValue = (v) => top + height * (1 - (v - least) / (most - least || 1));
  const ink = getComputedStyle(root).color;
  const colours = rampColours(line.diverges ? 'd' : 'b'), blue = colours[line.diverges ? 56 : 44].back, other = colours[7].back;
  const probe = make('i', { class: 'target' });
  root.append(probe);
  const redInk = getComputedStyle(probe).color;
  probe.remove();
  const svg = make('svg', { class: 'series', viewBox: `0 0 ${W} ${H}`, role: 'img', 'aria-label': 'Scores and values over position' });
  const label = (text, at, up, anchor, fill) => make('text', { x: at, y: up, 'text-anchor': anchor, 'font-size': 12, 'font-family': 'sans-serif', fill }, text);
  for (const n of numbers) {
    const score = Number.isFinite(n.score) ? n.score : 0, from = y(0), to = y(score);
    svg.append(make('rect', { x: x(n.i) - bar / 2, width: bar, y: Math.min(from, to), height: Math.abs(from - to), fill: score < 0 ? other : blue },
      make('title', {}, `${n.value}, number ${n.i}, token ${n.t}: score ${figure(n.score, 5)}`)));
  }
  svg.append(make('rect', { x: x(target) - bar / 2, width: Math.max(1.5, bar), y: top, height, fill: redInk, 'fill-opacity': 0.35 }, make('title', {}, 'target')));
  svg.append(make('path', { d: numbers.map((n, i) => `${i === 0 ? 'M' : 'L'}${x(i).toFixed(2)} ${yValue(n.value).toFixed(2)}`).join(''), fill: 'none', stroke: redInk, 'stroke-width': 1.5 }),
    make('path', { d: `M${left} ${top}V${H - bottom}H${W - right}V${top}`, fill: 'none', stroke: ink, 'stroke-width': 1 }),
    label(figure(high, 3), left - 6, top + 10, 'end', ink), label(figure(low, 3), left - 6, H - bottom, 'end', ink),
    label(figure(most), W - right + 6, top + 10, 'start', redInk), label(figure(least), W - right + 6, H - bottom, 'start', redInk),
    label('0', x(0), H - bottom + 18, 'middle', ink), label(String(numbers.length - 1), x(numbers.length - 1), H - bottom + 18, 'middle', ink),
    label('number in the series', left + width / 2, H - bottom + 28, 'middle', ink), label('score', 8, top + height / 2, 'start', ink), label('value', W - 8, top + height / 2, 'end', redInk));
  return svg;
}
