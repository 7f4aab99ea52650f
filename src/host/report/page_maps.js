/* page_maps.js: maps on a canvas with crisp cells: layer x token, position x token, rows x token. */

const LABEL_CELL = 9; // CSS pixels of a cell from which on its row or column is labelled

/* float32 in little-endian order, from base64. */
function floatsOf(map) {
  if (!map.floats) {
    const text = atob(map.values), bytes = new DataView(new ArrayBuffer(text.length));
    for (let i = 0; i < text.length; i++) bytes.setUint8(i, text.charCodeAt(i));
    map.floats = Float32Array.from({ length: text.length / 4 }, (_, i) => bytes.getFloat32(4 * i, true));
  }
  return map.floats;
}

function poolNote(map) {
  return map.pool > 1 ? `Each cell is the strongest of ${map.pool} tokens${map.matrix ? ` × ${map.pool} positions` : ''}; the full map is in --format json. ` : '';
}

function drawLayers() {
  const section = views.get('layers').section, map = data.maps.find((m) => !m.matrix && m.line === state.line);
  const block = map && section.querySelector(`[data-line="${map.line}"] .drawing`);
  if (!map) return;
  const values = floatsOf(map), line = lines[map.line];
  drawMap(block, {
    rows: map.rows, columns: map.columns, pool: map.pool, tokens: line.tokens, diverges: line.diverges, note: poolNote(map),
    rowNames: Array.from({ length: map.rows }, (_, r) => `block ${r}`), value: (r, c) => values[r * map.columns + c],
    choose: (r, c) => set({ view: 'text', pin: c * map.pool }),
  });
}

/* The row of a matrix as a line of scores: position p explains what follows it. */
function matrixLine(map, p) {
  const values = floatsOf(map), of = lines.find((line) => line.result === map.result);
  const plus = Float64Array.from(of.tokens, (_, t) => values[Math.floor(p / map.pool) * map.columns + Math.floor(t / map.pool)]);
  return { ...of, index: -1, position: p, n: p + 1, plus, minus: null, errors: null, signed: false, diverges: data.difference,
    adds: of.source.scope === 'fisher' || data.difference, in_place: p + 1 < of.tokens.length, ranked: null };
}

function drawMatrix() {
  const map = data.maps.find((m) => m.matrix && m.result === lines[state.line].result) || data.maps.find((m) => m.matrix);
  const section = views.get('matrix').section, block = section.querySelector(`[data-result="${map.result}"]`);
  const values = floatsOf(map), of = lines.find((line) => line.result === map.result), names = of.tokens.map(visible);
  const p = state.row >= 0 && state.row < of.tokens.length ? state.row : of.position;
  block.hidden = false;
  drawMap(block.querySelector('.drawing'), {
    rows: map.rows, columns: map.columns, pool: map.pool, tokens: of.tokens, diverges: data.difference,
    note: poolNote(map), square: true, mark: Math.floor(p / map.pool),
    rowNames: Array.from({ length: map.rows }, (_, r) => `${r * map.pool} ${names[r * map.pool]}`), value: (r, c) => values[r * map.columns + c],
    blank: (r, c) => c > r, // a position sees only what stands before it
    choose: (r) => set({ row: r * map.pool }),
  });
  drawMatrixRow(block, map, p, of);
}

/* Above the map: the prompt, coloured by the row of position p; a token that is chosen becomes the target. */
function drawMatrixRow(block, map, p, of) {
  let box = block.querySelector('.tokens');
  if (!box) {
    box = make('div', { class: 'tokens', role: 'group', 'aria-label': 'Tokens: arrow keys move, Enter makes one the target' });
    spansOf(of);
    for (const run of document.querySelectorAll(`#line-${of.index} .run`)) box.append(run.cloneNode(true));
    for (const mark of box.querySelectorAll('mark')) mark.remove();
    block.querySelector('.drawing').before(make('p', { class: 'note row-note' }), box);
    box.spans = collect(box);
    rove(box.spans, Math.min(p + 1, box.spans.length - 1));
    box.pick = (t) => { if (t > 0) set({ row: t - 1 }); };
  }
  box.line = matrixLine(map, p);
  const { values } = ranked(box.line);
  markSpaces(box.spans);
  const scale = colourTokens(box.spans, box.line, values, (t) => (t > 0 ? ' pick' : ''));
  block.querySelector('.row-note').textContent = `Row ${p} explains the prediction after ${visible(of.tokens[p])}; ${scale.note}${groupNote(box.line)}. ${poolNote(map)}`
    + 'Click a token, or a cell of the map, to make it the target.';
}

/* ---- drawing -------------------------------------------------------------------------------------------------------------------------- */

/* Cells that do not fit the screen are pooled once more: the strongest of a block stands for it. */
function fitted(map, room, pixel) {
  const pool = Math.max(1, Math.ceil(map.columns / Math.floor(room * pixel))), rowPool = map.square ? pool : 1;
  const columns = Math.ceil(map.columns / pool), rows = Math.ceil(map.rows / rowPool), values = new Float32Array(rows * columns);
  for (let r = 0; r < map.rows; r++) {
    const at = Math.floor(r / rowPool) * columns;
    for (let c = 0; c < map.columns; c++) {
      const i = at + Math.floor(c / pool), v = map.value(r, c);
      if (Math.abs(v) > Math.abs(values[i])) values[i] = v;
    }
  }
  return { pool, rowPool, columns, rows, values };
}

/* One scale for all rows, or one for each. */
function rowScales(cells, map, per) {
  const leftOut = leftOutOf(map.tokens), out = (i) => leftOut((i % cells.columns) * per);
  if (!state.own) return new Array(cells.rows).fill(makeScale(cells.values, map.diverges, out));
  return Array.from({ length: cells.rows }, (_, r) => makeScale(cells.values.subarray(r * cells.columns, (r + 1) * cells.columns), map.diverges, out));
}

/* map: rows, columns, value(r, c), blank(r, c): no cell; tokens, pool (tokens per column), rowNames, note, diverges; square cells; mark: the
   chosen row; say(r, c); choose(r, c). */
function drawMap(box, map) {
  const longest = Math.max(...map.rowNames.map((name) => short(name).length));
  const pixel = devicePixelRatio || 1, nameWidth = Math.min(128, 14 + 7 * longest), room = Math.max(80, box.clientWidth - nameWidth - 4);
  const cells = fitted(map, room, pixel), per = (map.pool || 1) * cells.pool;
  const wide = Math.max(1, Math.min(22 * pixel, Math.floor(room * pixel / cells.columns)));
  const high = map.square ? wide : Math.round(Math.max(2, Math.min(16, 480 / cells.rows)) * pixel);
  const nameHeight = wide / pixel >= LABEL_CELL ? 96 : 18;
  const canvas = make('canvas', { tabindex: 0, role: 'img', width: nameWidth * pixel + cells.columns * wide, height: nameHeight * pixel + cells.rows * high });
  canvas.setAttribute('aria-label', `Map of ${map.rows} rows and ${map.columns} columns: arrow keys move, Enter chooses`);
  canvas.style.width = `${canvas.width / pixel}px`;
  canvas.style.height = `${canvas.height / pixel}px`;
  const scales = rowScales(cells, map, per);
  const frame = { map, cells, per, wide, high, left: Math.round(nameWidth * pixel), top: Math.round(nameHeight * pixel), pixel, canvas, scales };
  paintCells(frame);
  paintNames(frame, nameHeight);
  listenToMap(frame);
  const pooled = cells.pool > 1 ? `On this screen each cell is the strongest of ${cells.pool} columns${cells.rowPool > 1 ? ' and rows' : ''}. ` : '';
  box.replaceChildren(make('p', { class: 'note' }, `${map.diverges ? 'Orange (negative) to blue' : 'Dark blue to yellow'}: ${state.own ? 'each row by its own largest; the first ' : ''}${scales[0].note}. ${pooled}${map.note || ''}`), canvas);
}

function paintCells({ map, cells, wide, high, left, top, canvas, scales }) {
  const context = canvas.getContext('2d'), colours = rampColours(map.diverges ? 'd' : 'c');
  const middle = colours[map.diverges ? 32 : 0].back;
  for (let r = 0; r < cells.rows; r++)
    for (let c = 0; c < cells.columns; c++) {
      if (map.blank && map.blank(r * cells.rowPool, c * cells.pool)) continue;
      const v = cells.values[r * cells.columns + c], scale = scales[r];
      context.fillStyle = scale.faint(v) ? middle : colours[scale.step(v)].back;
      context.fillRect(left + c * wide, top + r * high, wide, high);
    }
  if (map.mark >= 0) {
    context.strokeStyle = getComputedStyle(root).color;
    context.lineWidth = 2;
    const row = Math.floor(map.mark / cells.rowPool);
    context.strokeRect(left - 1, top + row * high - 1, Math.min(cells.columns, row + 1) * wide + 2, high + 2);
  }
}

function paintNames({ map, cells, per, wide, high, left, top, pixel, canvas }, nameHeight) {
  const context = canvas.getContext('2d'), size = Math.round(Math.min(11, Math.max(8, high / pixel)) * pixel);
  context.fillStyle = getComputedStyle(root).color;
  context.font = `${size}px sans-serif`;
  context.textBaseline = 'middle';
  const every = Math.ceil(LABEL_CELL * pixel / high); // names of rows that are too low would overlap
  context.textAlign = 'right';
  for (let r = 0; r < cells.rows; r += every)
    context.fillText(short(map.rowNames[r * cells.rowPool] || ''), left - 4 * pixel, top + (r + 0.5) * high, left - 8 * pixel);
  context.textAlign = 'left';
  if (wide / pixel < LABEL_CELL) {
    context.fillText(`token 0 to ${map.tokens.length - 1}`, left, nameHeight * pixel / 2);
    return;
  }
  for (let c = 0; c < cells.columns; c++) {
    context.save();
    context.translate(left + (c + 0.5) * wide, top - 3 * pixel);
    context.rotate(-Math.PI / 2);
    context.fillText(short(visible(map.tokens[c * per])), 0, 0, (nameHeight - 6) * pixel);
    context.restore();
  }
}

function short(text) {
  const letters = [...text];
  return letters.length > 16 ? `${letters.slice(0, 15).join('')}…` : text;
}

function listenToMap(frame) {
  const { canvas, cells, map, per } = frame;
  let r = 0, c = 0;
  const point = () => {
    const box = canvas.getBoundingClientRect(), x = box.left + (frame.left + c * frame.wide) / frame.pixel, y = box.top + (frame.top + r * frame.high) / frame.pixel;
    const row = r * cells.rowPool, column = c * cells.pool, said = map.say ? map.say(row, column) : null;
    const items = [['row', map.rowNames[row]], ...(said ? said.list : [['token', per > 1 ? `${c * per} to ${Math.min(map.tokens.length, (c + 1) * per) - 1}` : c],
      ['score', figure(cells.values[r * cells.columns + c], 5)]])];
    tip.replaceChildren(make('b', {}, said ? said.text : map.tokens.slice(c * per, (c + 1) * per).slice(0, 12).map(visible).join('')),
      make('dl', {}, ...items.flatMap(([name, value]) => [make('dt', {}, name), make('dd', {}, String(value))])));
    placeTip({ left: x, top: y, bottom: y + frame.high / frame.pixel });
  };
  const locate = (event) => {
    const box = canvas.getBoundingClientRect();
    c = Math.floor(((event.clientX - box.left) * frame.pixel - frame.left) / frame.wide);
    r = Math.floor(((event.clientY - box.top) * frame.pixel - frame.top) / frame.high);
    return r >= 0 && c >= 0 && r < cells.rows && c < cells.columns;
  };
  const choose = () => map.choose(r * cells.rowPool, c * cells.pool);
  canvas.addEventListener('mousemove', (event) => { if (locate(event)) point(); else hideTip(); });
  canvas.addEventListener('mouseleave', hideTip);
  canvas.addEventListener('click', (event) => { if (locate(event)) choose(); });
  canvas.addEventListener('keydown', (event) => {
    const moves = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0], Home: [0, -cells.columns], End: [0, cells.columns] };
    if (moves[event.key]) {
      r = Math.min(cells.rows - 1, Math.max(0, r + moves[event.key][0]));
      c = Math.min(cells.columns - 1, Math.max(0, c + moves[event.key][1]));
      point();
    } else if (event.key === 'Enter') choose();
    else return;
    event.preventDefault();
  });
}
