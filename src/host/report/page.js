/* page.js: the script of the HTML report: the data, the rows of scores, the state of the page and its controls. What it shows of tokens
   goes in as text, never as markup. page_text.js, page_table.js, page_maps.js and page_export.js follow in the same script. */
'use strict';

const source = document.getElementById('jscopes-data').textContent, data = JSON.parse(source);
const root = document.querySelector('.jscopes');
const lines = data.lines.map(makeLine);
const defaults = {
  view: 'text', line: 0, side: lines.length <= 4, pin: -1, row: -1, scale: 'linear', clip: 100, skip: false, min: 0, group: 'token',
  marks: false, own: true, theme: 'auto',
};
const choices = { scale: ['linear', 'log'], group: ['token', 'word', 'line'], theme: ['auto', 'light', 'dark'] };
const state = { ...defaults };
const views = new Map(); // name -> {name, title, section, draw}

document.addEventListener('DOMContentLoaded', start);

/* ---- rows of scores --------------------------------------------------------------------------------------------------------------- */

function numberOf(value) {
  return typeof value === 'number' ? value : NaN; // JSON has null where a number is undefined
}

function scoresOf(result, entry) {
  const one = entry.signed ? 'signed_score' : 'score', several = entry.signed ? 'signed_scores' : 'scores';
  return Float64Array.from(result.tokens, (token) => numberOf(several in token ? token[several][entry.row] : token[one]));
}

function makeLine(entry, index) {
  const result = data.results[entry.result], second = data.difference ? data.results[1] : null;
  const plus = scoresOf(result, entry), minus = second ? scoresOf(second, entry) : null;
  const position = Math.max(result.target.position, second ? second.target.position : 0);
  return {
    ...entry, index, source: result, tokens: result.tokens, position: result.target.position, plus, minus,
    n: Math.min(position + 1, result.tokens.length), diverges: entry.signed || data.difference,
    adds: entry.signed || result.scope === 'fisher', // else norms: their squares add
    errors: entry.signed || data.difference ? null : result.tokens.map((token) => numberOf(token.stderr)),
  };
}

/* What a token stands for on the screen: invisible characters written out. */
function visible(token) {
  if (token.text === undefined || token.text === '') return `⟨${token.id}⟩`;
  const text = token.bytes === undefined ? token.text : token.text.replace(/<0x([0-9A-F]{2})>/g, '\\x$1');
  const marks = { ' ': '␣', '\n': '↵', '\t': '⇥' };
  return text.replace(/[ \n\t]/g, (c) => marks[c]).replace(/[\p{Cc}\p{Cf}\p{Cn}\p{Cs}\p{Zl}\p{Zp}]/gu, (c) => {
    const point = c.codePointAt(0);
    return point === 0x200c || point === 0x200d ? c : point < 0x20 || point === 0x7f ? `\\x${point.toString(16).padStart(2, '0')}`
      : `<U+${point.toString(16).toUpperCase().padStart(4, '0')}>`;
  });
}

function isSpecial(token, t) {
  return t === 0 || /^(<[|｜].*[|｜]>|<\/?(s|bos|eos|pad|unk|mask)>|\[(CLS|SEP|PAD|BOS|EOS|UNK|MASK)\]|<(start|end)_of_\w+>)$/i.test(token.text || '');
}

/* ---- grouping: words begin at white space, lines after a line break --------------------------------------------------------------- */

const groupCache = new Map();

/* The group of every token, as the index of its first token. */
function groupsOf(tokens, mode) {
  const key = mode + lines.findIndex((line) => line.tokens === tokens);
  if (!groupCache.has(key)) {
    const alone = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}]/u; // written without spaces
    const first = new Int32Array(tokens.length);
    for (let t = 1; t < tokens.length; t++) {
      const before = tokens[t - 1].text || '', text = tokens[t].text || '';
      const begins = mode === 'token' || (mode === 'line' ? before.includes('\n')
        : /\s$/.test(before) || /^\s/.test(text) || isSpecial(tokens[t - 1], t - 1) || isSpecial(tokens[t], t) || (alone.test(before) && alone.test(text)));
      first[t] = begins && (mode === 'token' || !tokens[t].linked) ? t : first[t - 1];
    }
    groupCache.set(key, first);
  }
  return groupCache.get(key);
}

/* Scores of one result by group; members of a group all have the group's. */
function grouped(line, scores) {
  const first = groupsOf(line.tokens, state.group), sums = new Float64Array(scores.length);
  if (state.group === 'token') sums.set(scores);
  else {
    for (let t = 0; t < line.n; t++) sums[first[t]] += line.adds ? scores[t] : scores[t] * scores[t];
    if (!line.adds) for (let t = 0; t < line.n; t++) sums[t] = Math.sqrt(sums[t]);
  }
  let total = 1;
  if (data.shares) {
    total = 0;
    for (let t = 0; t < sums.length; t++) if (first[t] === t) total += sums[t];
  }
  return sums.map((_, t) => (total > 0 ? sums[t < line.n ? first[t] : t] / total : 0));
}

/* One value per token: of a difference the first minus the second, as shares of each total where their units are unlike. */
function valuesOf(line) {
  const plus = grouped(line, line.plus), minus = line.minus && grouped(line, line.minus);
  return minus ? plus.map((v, t) => v - minus[t]) : plus;
}

/* The groups of a line with their values, the strongest first: what tables and ranks show. */
function ranked(line) {
  if (line.ranked && line.ranked.by === state.group) return line.ranked;
  const values = valuesOf(line), first = groupsOf(line.tokens, state.group), groups = [];
  for (let t = 0; t < line.n; t++) {
    if (first[t] === t) groups.push({ t, end: t + 1, value: values[t] });
    else groups[groups.length - 1].end = t + 1;
  }
  const size = (g) => (Number.isNaN(g.value) ? -Infinity : Math.abs(g.value));
  const order = groups.slice().sort((a, b) => size(b) - size(a) || a.t - b.t);
  order.forEach((g, i) => { g.rank = i + 1; });
  const total = groups.reduce((sum, g) => sum + (Number.isFinite(g.value) ? Math.abs(g.value) : 0), 0);
  line.ranked = { by: state.group, values, groups, order, total };
  return line.ranked;
}

/* ---- the colour scale: only what is shown depends on it ---------------------------------------------------------------------------- */

/* values: of an array; leftOut(i): not counted in the scale. */
function makeScale(values, diverges, leftOut) {
  const sizes = Float64Array.from(values, (v, i) => (Number.isFinite(v) && !leftOut(i) ? Math.abs(v) : 0));
  let top = 0, low = Infinity;
  for (const size of sizes) {
    if (size > top) top = size;
    if (size > 0 && size < low) low = size;
  }
  if (state.clip < 100) {
    const sorted = sizes.filter((size) => size > 0).sort();
    if (sorted.length > 0) top = sorted[Math.max(0, Math.ceil(sorted.length * state.clip / 100) - 1)];
  }
  low = Math.min(Math.max(low, top * 1e-4), top / 1.001);
  const share = (v) => {
    const size = Math.abs(v);
    if (!(size > 0) || (v < 0 && !diverges)) return 0;
    const part = state.scale === 'log' ? Math.log(size / low) / Math.log(top / low) : size / top;
    return Math.sign(v) * Math.min(1, Math.max(0, part));
  };
  const step = (v) => (!diverges ? Math.round(share(v) * 63) : v < 0 ? 31 - Math.round(-share(v) * 31) : 32 + Math.round(share(v) * 31));
  const notes = [state.scale === 'log' ? `logarithmic from ${figure(low)}` : diverges ? `linear from −${figure(top)}` : 'linear from 0'];
  notes[0] += ` to ${figure(top)}`;
  if (state.clip < 100) notes.push(`clipped at the ${state.clip}th percentile`);
  if (state.skip) notes.push('special and first tokens left out (hatched)');
  if (state.min > 0) notes.push(`no colour below ${state.min} % of the top`);
  return { top, step, faint: (v) => state.min > 0 && !(Math.abs(v) >= top * state.min / 100), note: notes.join('; ') };
}

function leftOutOf(tokens) {
  return (t) => state.skip && isSpecial(tokens[t], t);
}

function groupNote(line) {
  if (state.group === 'token') return '';
  return `; scores of a ${state.group}: ${line.adds ? 'the sum over its tokens' : 'squared norms add: root of the sum of squares over its tokens'}`;
}

/* Colours of a ramp as the page shows them now. */
function rampColours(letter) {
  const probe = make('i');
  root.append(probe);
  const colours = Array.from({ length: 64 }, (_, i) => {
    probe.className = letter + i;
    const style = getComputedStyle(probe);
    return { back: style.backgroundColor, front: style.color };
  });
  probe.remove();
  return colours;
}

/* ---- small helpers ------------------------------------------------------------------------------------------------------------------ */

function make(tag, attributes = {}, ...children) {
  const element = ['svg', 'rect', 'text', 'path', 'line', 'title', 'g', 'image'].includes(tag) && attributes.svg !== false
    ? document.createElementNS('http://www.w3.org/2000/svg', tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children); // strings become text
  return element;
}

function figure(value, digits = 4) {
  return Number.isFinite(value) ? String(Number(value.toPrecision(digits))).replace('-', '−') : 'undefined';
}

/* ---- state, kept in the URL's fragment ----------------------------------------------------------------------------------------------- */

function readFragment() {
  Object.assign(state, defaults);
  const at = /^#line-(\d+)$/.exec(location.hash);
  if (at) state.line = Number(at[1]);
  for (const [name, text] of new URLSearchParams(location.hash.slice(1))) {
    const kind = typeof defaults[name];
    if (kind === 'number' && Number.isFinite(Number(text))) state[name] = Number(text);
    if (kind === 'boolean') state[name] = text === '1';
    if (kind === 'string' && (name === 'view' ? views.has(text) : choices[name].includes(text))) state[name] = text;
  }
  if (!Number.isInteger(state.line) || !lines[state.line]) state.line = 0;
  if (!lines[state.line] || !Number.isInteger(state.pin) || !lines[state.line].tokens[state.pin]) state.pin = -1;
  if (!Number.isInteger(state.row)) state.row = -1;
  state.clip = Math.min(100, Math.max(50, state.clip));
  state.min = Math.min(100, Math.max(0, state.min));
}

function writeFragment() {
  const changed = new URLSearchParams();
  for (const [name, value] of Object.entries(state))
    if (value !== defaults[name]) changed.set(name, typeof value === 'boolean' ? Number(value) : value);
  try {
    history.replaceState(null, '', `#${changed}`);
  } catch { /* a page inside another may not: then there is nothing to share */ }
}

function set(change) {
  Object.assign(state, change);
  writeFragment();
  render();
}

/* ---- views and controls ---------------------------------------------------------------------------------------------------------------- */

function addView(name, title, section, draw) {
  section.setAttribute('role', 'tabpanel');
  section.id = `view-${name}`;
  section.setAttribute('aria-labelledby', `tab-${name}`);
  views.set(name, { name, title, section, draw });
}

function makeTabs() {
  const tabs = [...views.values()].map((view) => make('button', {
    type: 'button', role: 'tab', id: `tab-${view.name}`, 'aria-controls': `view-${view.name}`, onclick: () => set({ view: view.name }),
  }, view.title));
  const nav = make('nav', { role: 'tablist', 'aria-label': 'Views' }, ...tabs);
  nav.addEventListener('keydown', (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const next = tabs[(tabs.indexOf(document.activeElement) + step + tabs.length) % tabs.length];
    next.focus();
    next.click();
    event.preventDefault();
  });
  return nav;
}

const controls = {}; // name of a state -> its element

function select(name, label, titles) {
  controls[name] = make('select', { onchange: (event) => set({ [name]: event.target.value }) },
    ...choices[name].map((value, i) => make('option', { value }, titles[i])));
  return make('label', {}, label, controls[name]);
}

function check(name, label) {
  controls[name] = make('input', { type: 'checkbox', onchange: (event) => set({ [name]: event.target.checked }) });
  return make('label', {}, controls[name], label);
}

function amount(name, label, least, most) {
  controls[name] = make('input', { type: 'number', min: least, max: most, step: 'any', onchange: (event) => {
    const value = Number(event.target.value);
    set({ [name]: Number.isFinite(value) ? Math.min(most, Math.max(least, value)) : defaults[name] });
  } });
  return make('label', {}, label, controls[name]);
}

function makeControls() {
  const several = lines.length > 1;
  if (several) {
    controls.line = make('select', { onchange: (event) => set({ line: Number(event.target.value), pin: -1 }) },
      ...lines.map((line, i) => make('option', { value: i }, `${i + 1}: ${document.querySelector(`#line-${i} h3`).textContent}`)));
  }
  return make('div', { class: 'controls', role: 'group', 'aria-label': 'Controls' },
    ...(several ? [make('label', {}, 'row', controls.line), check('side', 'all side by side')] : []),
    select('scale', 'scale', ['linear', 'log']), amount('clip', 'clip at %', 50, 100), amount('min', 'hide below %', 0, 100),
    check('skip', 'leave out special and first tokens'), select('group', 'by', ['token', 'word', 'line']), check('marks', '␣ ↵ ⇥'),
    ...(data.maps.length > 0 ? [check('own', 'maps: each row by its largest')] : []),
    makeSearch(), select('theme', 'theme', ['as the system', 'light', 'dark']), ...makeExports());
}

function render() {
  document.documentElement.style.colorScheme = state.theme === 'auto' ? '' : state.theme;
  for (const [name, element] of Object.entries(controls)) {
    if (element.type === 'checkbox') element.checked = state[name];
    else element.value = state[name];
  }
  for (const view of views.values()) {
    const shown = view.name === state.view, tab = document.getElementById(`tab-${view.name}`);
    view.section.hidden = !shown;
    tab.setAttribute('aria-selected', shown);
    tab.tabIndex = shown ? 0 : -1;
    for (const block of shown ? view.section.querySelectorAll('[data-line], [data-result]') : [])
      block.hidden = block.dataset.line !== undefined ? Number(block.dataset.line) !== state.line
        : lines.length > 0 && !data.difference && Number(block.dataset.result) !== lines[state.line].result;
  }
  hideTip();
  views.get(state.view).draw();
  showPinned();
}

function start() {
  const sections = new Map([...root.querySelectorAll('section[data-view]')].map((section) => [section.dataset.view, section]));
  const draws = { text: drawText, targets: drawTargets, table: drawTable, layers: drawLayers, matrix: drawMatrix };
  if (lines.length === 0) return;
  root.classList.add('scripted');
  for (const [name, section] of sections) {
    section.classList.add('scripted');
    addView(name, section.dataset.name, section, draws[name] || (() => {}));
    if (name === 'matrix' || (name === 'table' && !sections.has('layers') && !sections.has('matrix')))
      addSeries(section);
  }
  root.querySelector('header').after(makeTabs(), makeControls());
  root.append(tip);
  listenToText();
  addEventListener('hashchange', () => { readFragment(); render(); });
  addEventListener('resize', () => render());
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => render());
  addEventListener('beforeprint', () => hideTip());
  readFragment();
  render();
  if (state.pin >= 0) spansOf(lines[state.line])[state.pin].scrollIntoView({ block: 'nearest' });
}
