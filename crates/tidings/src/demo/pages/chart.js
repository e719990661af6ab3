// Candles, or a line, on a canvas: sharp on every screen, in the colours of the page.

const PAD = { top: 10, bottom: 10, left: 4, right: 62 };

export class Chart {
  #canvas;
  #colours = {};

  /** `elements` name the elements whose text colours are the chart's: up, down, line, grid. */
  constructor(canvas, elements) {
    this.#canvas = canvas;
    const look = () => {
      for (const [name, element] of Object.entries(elements)) this.#colours[name] = getComputedStyle(element).color;
    };
    look();
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', look);
  }

  /** The newest candle stands at the right edge; `slots` of them fit. */
  paint(candles, slots, kind) {
    const canvas = this.#canvas;
    const ratio = devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    const [wide, high] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (canvas.width !== wide || canvas.height !== high) [canvas.width, canvas.height] = [wide, high];
    const pen = canvas.getContext('2d');
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    if (candles.length === 0) return;

    const low = Math.min(...candles.map((candle) => candle.low));
    const span = Math.max(...candles.map((candle) => candle.high)) - low || low * 0.001 || 1;
    const room = height - PAD.top - PAD.bottom;
    const y = (price) => PAD.top + room * (1 - (price - low) / span);
    const step = (width - PAD.left - PAD.right) / slots;
    const x = (at) => PAD.left + step * (slots - candles.length + at + 0.5);
    // A line of one pixel is sharp between two pixels.
    const sharp = (place) => (Math.round(place * ratio) + 0.5) / ratio;

    pen.font = '12px system-ui, sans-serif';
    pen.textBaseline = 'middle';
    pen.lineWidth = 1 / ratio;
    for (let at = 0; at <= 4; at += 1) {
      const price = low + (span * at) / 4;
      pen.strokeStyle = this.#colours.grid;
      pen.globalAlpha = 0.3;
      pen.beginPath();
      pen.moveTo(0, sharp(y(price)));
      pen.lineTo(width - PAD.right + 4, sharp(y(price)));
      pen.stroke();
      pen.globalAlpha = 1;
      pen.fillStyle = this.#colours.grid;
      pen.fillText(price.toFixed(2), width - PAD.right + 8, y(price));
    }

    if (kind === 'line') {
      pen.strokeStyle = this.#colours.line;
      pen.lineWidth = 2;
      pen.lineJoin = 'round';
      pen.beginPath();
      candles.forEach((candle, at) => pen.lineTo(x(at), y(candle.close)));
      pen.stroke();
    } else {
      const body = Math.max(1, step * 0.64);
      candles.forEach((candle, at) => {
        const colour = candle.close >= candle.open ? this.#colours.up : this.#colours.down;
        [pen.fillStyle, pen.strokeStyle, pen.lineWidth] = [colour, colour, 1];
        pen.beginPath();
        pen.moveTo(sharp(x(at)), y(candle.high));
        pen.lineTo(sharp(x(at)), y(candle.low));
        pen.stroke();
        const [top, end] = [y(Math.max(candle.open, candle.close)), y(Math.min(candle.open, candle.close))];
        pen.fillRect(x(at) - body / 2, top, body, Math.max(1, end - top));
      });
    }

    const last = candles.at(-1).close;
    pen.strokeStyle = this.#colours.line;
    pen.lineWidth = 1;
    pen.setLineDash([3, 3]);
    pen.beginPath();
    pen.moveTo(0, sharp(y(last)));
    pen.lineTo(width - PAD.right + 4, sharp(y(last)));
    pen.stroke();
    pen.setLineDash([]);
  }
}
