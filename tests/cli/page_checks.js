/* page_checks.js: runs inside a page of the HTML report after its own script and puts the outcome into the title. test_html.py adds it, with
   its hash in the page's policy. It presses what a reader would press. */
'use strict';
{
  const failures = [], trouble = [];
  const quick = false; // test_html.py sets it for a page that is only timed
  let done = 0;
  const check = (what, ok) => {
    done++;
    if (!ok) failures.push(what);
  };
  const $ = (selector) => document.querySelector(selector);
  const $$ = (selector) => [...document.querySelectorAll(selector)];
  const press = (element, key) => element.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true }));
  const point = (element) => element.dispatchEvent(new MouseEvent('mouseover', { bubbles: true }));
  const put = (name, value) => {
    const element = controls[name];
    if (element.type === 'checkbox') element.checked = value;
    else element.value = value;
    element.dispatchEvent(new Event('change'));
  };
  const open = (view) => $(`#tab-${view}`).click();
  const panelSpans = () => $$(`#line-${state.line} .run > span`);

  addEventListener('error', (event) => trouble.push(event.message));
  document.addEventListener('securitypolicyviolation', (event) => trouble.push(`policy: ${event.violatedDirective}`));

  const inert = () => {
    check('no element of hostile text', $$('img, iframe, object, embed, link, form, base, foreignObject').length === 0);
    check('no handler attribute', $$('*').every((e) => [...e.attributes].every((a) => !a.name.startsWith('on') && a.name !== 'srcdoc')));
    check('nothing ran', window.hostile === undefined && document.cookie === '');
    check('its own scripts only', $$('script').length === 3);
  };

  const viewsOpen = () => {
    for (const view of views.keys()) {
      open(view);
      check(`view ${view} is shown alone`, $$('section[role=tabpanel]').filter((s) => s.offsetHeight > 0).map((s) => s.id).join() === `view-${view}`);
      check(`view ${view} is in the fragment`, view === 'text' || location.hash.includes(`view=${view}`));
      check(`view ${view} has no sideways scroll`, document.documentElement.scrollWidth <= innerWidth);
    }
    open('text');
    const tab = $('[role=tab][aria-selected=true]');
    tab.focus();
    press(tab, 'ArrowRight');
    check('arrows move between views', state.view === [...views.keys()][1]);
    open('text');
  };

  const pointing = () => {
    const spans = panelSpans(), line = lines[state.line], tipOf = $('.tip');
    check('a span for every token', spans.length === line.tokens.length);
    point(spans[0]);
    check('hover says what and how much', !tipOf.hidden && /position0id\d+score/.test(tipOf.textContent) && /rank\d+ of \d+/.test(tipOf.textContent));
    check('the tip is on the screen', tipOf.getBoundingClientRect().right <= innerWidth && tipOf.getBoundingClientRect().left >= 0);
    root.dispatchEvent(new MouseEvent('mouseleave'));
    check('leaving hides it', tipOf.hidden);
    if (!leadOf(line, 0)) {
      spans[0].click();
      check('a click pins', state.pin === 0 && spans[0].classList.contains('pinned') && location.hash.includes('pin=0'));
      press(document.body, 'Escape');
      check('escape clears', state.pin === -1 && !spans[0].classList.contains('pinned') && !location.hash.includes('pin'));
    }
  };

  const keyboard = () => {
    const spans = panelSpans(), last = spans.length - 1;
    check('one token is in the tab order', spans.filter((span) => span.tabIndex === 0).length === 1);
    spans.find((span) => span.tabIndex === 0).focus();
    press(document.activeElement, 'Home');
    check('home', document.activeElement === spans[0]);
    press(document.activeElement, 'ArrowLeft');
    check('left at the first stays', document.activeElement === spans[0]);
    press(document.activeElement, 'ArrowRight');
    check('right', document.activeElement === spans[Math.min(1, last)]);
    press(document.activeElement, 'End');
    check('end', document.activeElement === spans[last]);
    if (!document.hasFocus()) document.activeElement.dispatchEvent(new FocusEvent('focusin', { bubbles: true })); // a window behind others tells nobody
    check('a label for the ear', document.activeElement.getAttribute('aria-label').includes('position') && document.activeElement.getAttribute('role') === 'button');
    check('still one in the tab order', spans.filter((span) => span.tabIndex === 0).length === 1);
    press(document.activeElement, 'Home');
    if (!leadOf(lines[state.line], 0)) {
      press(document.activeElement, 'Enter');
      check('enter pins', state.pin === 0);
      press(document.body, 'Escape');
    }
    press(document.body, '/');
    check('slash goes to the search', document.activeElement.type === 'search');
    document.activeElement.blur();
  };

  const scale = () => {
    const line = lines[state.line], steps = () => panelSpans().slice(0, line.n).map((span) => Number((/^[bd](\d+)/.exec(span.className) || [0, NaN])[1]));
    const before = JSON.stringify([line.plus.length, [...line.plus]]), note = () => $(`#line-${state.line} .mapping`).textContent;
    const linear = steps();
    check('linear', note().startsWith('linear') && linear.every((s) => s >= 0 && s <= 63));
    put('scale', 'log');
    const order = ranked(line).order.map((g) => g.t), logarithmic = steps();
    check('log', note().startsWith('logarithmic') && logarithmic.every((s) => s >= 0 && s <= 63));
    check('log keeps the order', line.diverges || order.every((t, i) => i === 0 || logarithmic[t] <= logarithmic[order[i - 1]]));
    put('scale', 'linear');
    put('skip', true);
    check('left out tokens are hatched', panelSpans()[0].classList.contains('hatched') && note().includes('left out'));
    if (line.n > 2 && !line.diverges && line.plus.subarray(1, line.n).some((v) => v > 0)) check('the scale is of the others', Math.max(...steps().slice(1)) === 63);
    put('skip', false);
    put('min', '60');
    check('a threshold takes colours away', panelSpans().slice(0, line.n).some((span) => span.classList.contains('faint')) === line.plus.subarray(0, line.n).some((v) => !(Math.abs(v) >= 0.6 * line.ranked.order[0].value)) || line.diverges);
    put('min', '0');
    put('clip', '60');
    check('clipped', note().includes('60th percentile'));
    put('clip', '100');
    put('group', 'word');
    check('words', note().includes(line.adds ? 'the sum' : 'squared norms add'));
    const first = groupsOf(line.tokens, 'word');
    check('a word has one colour', steps().every((s, t, all) => s === all[first[t]]));
    put('group', 'token');
    check('as before', JSON.stringify(steps()) === JSON.stringify(linear) && JSON.stringify([line.plus.length, [...line.plus]]) === before);
    const text = () => panelSpans().map((span) => span.textContent).join(''), plain = text();
    put('marks', true);
    check('spaces are seen', /[ \n\t]/.test(plain) ? /[␣↵⇥]/.test(text()) : text() === plain);
    put('marks', false);
    check('the text is as before', text() === plain);
  };

  const themes = () => {
    const back = () => getComputedStyle(root).backgroundColor;
    put('theme', 'dark');
    check('dark', back() === 'rgb(20, 24, 29)' && rampColours('b')[0].front === 'rgb(255, 255, 255)');
    put('theme', 'light');
    check('light', back() === 'rgb(255, 255, 255)' && rampColours('b')[0].front === 'rgb(0, 0, 0)');
    put('theme', 'auto');
  };

  const search = () => {
    const line = lines[state.line], t = line.tokens.findIndex((token) => /^ ?\w{3,}$/.test(token.text || ''));
    if (t < 0) return;
    controls.search.value = line.tokens[t].text.trim().toUpperCase();
    controls.search.dispatchEvent(new Event('input'));
    check('search finds', state.pin >= 0 && state.pin <= t);
    controls.search.value = 'nowhere to be found';
    controls.search.dispatchEvent(new Event('input'));
    check('search says no', !controls.search.checkValidity());
    press(document.body, 'Escape');
  };

  const tables = () => {
    open('table');
    const cells = (n) => $$('#view-table tbody tr').map((row) => row.children[n].textContent);
    check('by rank at first', cells(0)[0] === '1');
    $$('#view-table thead button')[1].click();
    check('by position', cells(1).every((text, i) => i === 0 || Number(text) > Number(cells(1)[i - 1])));
    $$('#view-table thead button')[1].click();
    check('and back', cells(1).every((text, i) => i === 0 || Number(text) < Number(cells(1)[i - 1])));
    check('the order is said', $$('#view-table [aria-sort=descending]').length === 1);
    $$('#view-table thead button')[0].click();
    open('text');
  };

  const maps = () => {
    for (const view of ['layers', 'matrix', 'targets']) {
      const canvas = views.has(view) && (open(view), $(`#view-${view} section:not([hidden]) canvas, #view-${view} canvas`));
      if (!canvas) continue;
      const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data, colours = new Set();
      for (let i = 0; i < pixels.length; i += 4) colours.add(pixels[i] << 16 | pixels[i + 1] << 8 | pixels[i + 2]);
      check(`${view}: has colours`, colours.size > 3);
      press(canvas, 'ArrowDown');
      check(`${view}: arrows say the cell`, !$('.tip').hidden && $('.tip').textContent.includes('row'));
    }
    if (views.has('matrix')) {
      open('matrix');
      press($('#view-matrix canvas'), 'ArrowDown');
      press($('#view-matrix canvas'), 'Enter');
      check('a cell makes its row the target', state.row === 1);
      const spans = $$('#view-matrix .run > span');
      spans[1].click();
      check('a token is the target of the row before it', state.row === 0 && spans[1].classList.contains('target'));
      point(spans[0]);
      check('hover says what it gave to this row', !$('.tip').hidden && $('.tip').textContent.includes('rank1 of 1'));
      press(spans[0], 'ArrowRight');
      press(document.activeElement, 'ArrowRight');
      press(document.activeElement, 'Enter');
      check('keys choose a target', state.row === 1 && document.activeElement === spans[2] && spans[2].classList.contains('target'));
      set({ row: 0 });
      check('later tokens have no score', spans.slice(2).every((span) => span.classList.contains('later')));
    }
    open('text');
  };

  const rows = () => {
    if (lines.length < 2) return;
    open('targets');
    $$('#view-targets tbody tr')[1].click();
    check('a row leads to its text', state.view === 'text' && state.line === 1 && $('#line-1').offsetHeight > 0);
    check('its target is there', $$('#line-1 .target').length === 1);
    put('side', true);
    check('all side by side', $$('.panel').every((panel) => panel.offsetHeight > 0 && panel.querySelector('.run')));
    put('side', false);
    check('one alone', $$('.panel').filter((panel) => panel.offsetHeight > 0).length === 1);
    const lead = panelSpans().find((span) => span.classList.contains('leads'));
    if (lead) {
      const t = lead.at;
      lead.click();
      check('a target in the text leads to its row', lines[state.line].position + 1 === t && state.line !== 1);
    }
    set({ line: 0, side: defaults.side });
  };

  const series = () => {
    if (!views.has('series')) return;
    open('series');
    const svg = $('#view-series svg');
    check('a bar for every number and the target', svg.querySelectorAll('rect').length === data.series[0].length + 1 && svg.querySelectorAll('path').length === 2);
    open('text');
  };

  const exports = () => {
    for (const view of views.keys()) {
      open(view);
      const svg = figureSvg(), parsed = new DOMParser().parseFromString(svg, 'image/svg+xml');
      check(`${view}: SVG is XML`, !parsed.querySelector('parsererror') && parsed.documentElement.childElementCount > 0);
    }
    open('text');
    check('JSON is that of the results', JSON.stringify(JSON.parse(resultsText())) === JSON.stringify(data.results.length === 1 ? data.results[0] : data.results));
    check('JSON keeps a large seed', resultsText().includes('18446744073709551615') || !document.title.includes('seed'));
    check('TSV has a line per token', tsv().trimEnd().split('\n').length === lines[state.line].n + 1);
    const [head, first] = tsv().split('\n').map((row) => row.split('\t'));
    check('TSV has its columns', first.length === head.length && first[1] === String(lines[state.line].tokens[0].id));
    check('TSV has the very numbers', tsv().split('\n')[1].split('\t').map(Number).includes(valuesOf(lines[state.line])[0]) || Number.isNaN(valuesOf(lines[state.line])[0]));
  };

  const fragment = () => {
    history.replaceState(null, '', '#view=details&scale=log&clip=90&skip=1&theme=dark&line=999&pin=1e9&row=x&min=-3&evil=<img>');
    readFragment();
    render();
    check('state comes from the fragment', state.view === 'details' && state.scale === 'log' && state.clip === 90 && state.skip && state.theme === 'dark');
    check('nonsense is ignored', state.line === 0 && state.pin === -1 && state.min === 0 && state.row === -1 && !('evil' in state));
    history.replaceState(null, '', '#');
    readFragment();
    render();
  };

  document.addEventListener('DOMContentLoaded', () => {
    document.body.offsetHeight; // lays it out
    const milliseconds = performance.now();
    try {
      for (const part of quick ? [inert] : [inert, viewsOpen, pointing, keyboard, scale, themes, search, tables, maps, rows, series, exports, fragment, inert]) part();
    } catch (error) {
      failures.push(`${error} ${error.stack}`);
    }
    failures.push(...trouble);
    document.title = failures.length === 0 ? `passed ${done} checks, open after ${milliseconds.toFixed(0)} ms` : `FAILED: ${failures.join('; ')}`;
  });
}
