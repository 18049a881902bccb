#!/bin/sh
echo told "$@"
