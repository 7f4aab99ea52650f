/* page_export.js: what is shown, for other programs: JSON, a table of tab-separated values, a figure as SVG. */

function makeExports() {
  const button = (title, action) => {
    const element = make('button', { type: 'button', onclick: async () => {
      const done = await action();
      element.textContent = done ? `${title}: done` : `${title}: refused`;
      setTimeout(() => { element.textContent = title; }, 1500);
    } }, title);
    return element;
  };
  return [button('copy JSON', () => copy(resultsText())),
    button('copy TSV', () => copy(tsv())), button('copy SVG', () => copy(figureSvg())), button('save SVG', saveSvg)];
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch { /* not allowed here: the old way */
    const area = make('textarea', { 'aria-hidden': true });
    area.value = text;
    root.append(area);
    area.select();
    const done = document.execCommand('copy');
    area.remove();
    return done;
  }
}

/* As it was written: a seed can be beyond what a number of this language holds. */
function resultsText() {
  const list = source.slice(source.indexOf('['), source.indexOf(',\n"difference": '));
  return data.results.length === 1 ? `${list.slice(1, -1).trim()}\n` : list;
}

/* The chosen row: numbers that read back to the same double. */
function tsv() {
  const line = lines[state.line], { groups, total } = ranked(line);
  const errors = line.errors && state.group === 'token' && line.errors.some((e) => !Number.isNaN(e));
  const rows = groups.map((g) => [g.t, line.tokens.slice(g.t, g.end).map((token) => token.id).join(' '),
    line.tokens.slice(g.t, g.end).map(visible).join(''), g.value, ...(errors ? [line.errors[g.t]] : []), Math.abs(g.value) / total, g.rank]);
  return [['position', 'id', 'token', 'score', ...(errors ? ['stderr'] : []), 'share', 'rank'], ...rows].map((row) => row.join('\t')).join('\n') + '\n';
}

/* ---- figures ------------------------------------------------------------------------------------------------------------------------- */

/* The picture of the view: a text as it is broken into lines here, a series, or a map as an image. */
function figureSvg() {
  const series = root.querySelector('section:not([hidden]) svg.series'), canvas = root.querySelector('section:not([hidden]) canvas');
  let figure, picture = '';
  if (series) {
    figure = series.cloneNode(true);
    figure.setAttribute('width', 960);
    figure.setAttribute('height', 320);
  } else if (canvas) {
    const width = canvas.clientWidth, height = canvas.clientHeight;
    figure = make('svg', { width, height, viewBox: `0 0 ${width} ${height}` }, make('image', { width, height }));
    picture = canvas.toDataURL(); // goes in as text: in an element of this page it would be an image, which the policy forbids
  } else figure = textSvg();
  const text = new XMLSerializer().serializeToString(figure);
  return picture === '' ? text : text.replace('<image ', `<image href="${picture}" `);
}

function textSvg() {
  const hidden = views.get('text').section.hidden;
  if (hidden) views.get('text').section.hidden = false; // it has a size only while it is shown
  const box = root.querySelector('.panels'), frame = box.getBoundingClientRect();
  const svg = make('svg', { width: Math.ceil(frame.width), height: Math.ceil(frame.height), viewBox: `0 0 ${Math.ceil(frame.width)} ${Math.ceil(frame.height)}` });
  for (const panel of box.querySelectorAll('.panel:not([hidden])')) {
    for (const run of panel.querySelectorAll('.run')) run.style.contentVisibility = 'visible';
    for (const element of panel.querySelectorAll('h3, .explained, .mapping, .run > span, .run > mark')) svg.append(...piecesOf(element, frame));
    for (const run of panel.querySelectorAll('.run')) run.style.contentVisibility = '';
  }
  views.get('text').section.hidden = hidden;
  return svg;
}

/* An element's boxes, and its text line by line where it is broken. */
function piecesOf(element, frame) {
  const style = getComputedStyle(element), pieces = [], target = element.matches('.target');
  const boxed = element.matches('.run > *') && !element.matches('.later');
  for (const box of boxed ? element.getClientRects() : [])
    pieces.push(make('rect', { x: box.left - frame.left, y: box.top - frame.top, width: box.width, height: box.height, rx: 3,
      fill: style.backgroundColor, ...(target ? { stroke: style.color, 'stroke-width': 2 } : {}) }));
  for (const node of element.childNodes) {
    if (node.nodeType !== Node.TEXT_NODE) continue;
    for (const { text, box } of linesOf(node))
      pieces.push(make('text', { x: box.left - frame.left, y: box.bottom - frame.top - box.height * 0.24, 'font-size': style.fontSize,
        'font-family': 'sans-serif', 'font-weight': style.fontWeight, fill: style.color }, text));
  for (const piece of pieces) if (piece.localName === 'text') piece.setAttributeNS('http://www.w3.org/XML/1998/namespace', 'xml:space', 'preserve');
  }
  return pieces;
}

function linesOf(node) {
  const range = document.createRange(), out = [], text = node.data;
  range.selectNodeContents(node);
  const boxes = [...range.getClientRects()].filter((box) => box.width > 0);
  if (boxes.length === 1) return [{ text: plain(text), box: boxes[0] }];
  for (let i = 0; i < text.length; i++) {
    range.setStart(node, i);
    range.setEnd(node, i + 1);
    const box = range.getBoundingClientRect(), last = out[out.length - 1];
    if (box.width === 0 && !last) continue;
    if (last && Math.abs(last.box.top - box.top) < 3) last.text += plain(text[i]);
    else out.push({ text: plain(text[i]), box });
  }
  return out;
}

/* XML has no control characters. */
function plain(text) {
  return text.replace(/[\n\t]/g, ' ').replace(/[\u0000-\u0008\u000b-\u001f\ufffe\uffff]/g, '\ufffd');
}

function saveSvg() {
  const link = make('a', { download: 'jscopes.svg', href: URL.createObjectURL(new Blob([figureSvg()], { type: 'image/svg+xml' })) });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  return true;
}
